// Every command, its arguments and options: what `--help` and docs/cli.md are made of. Nothing here does anything: the modules that
// do are loaded when their command is called.
import type { Command } from 'commander';
import { does } from './command.js';

const many = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function registerWork(program: Command): void {
  program.commandsGroup('Work');
  does(
    program
      .command('submit')
      .argument('<capability>', 'what an agent must offer')
      .description('submit a task; prints its id, or with --wait its result')
      .option('-i, --input <json>', 'the input: JSON, @file, or - for stdin (default: {})')
      .option('-p, --priority <class>', 'P0 (most urgent) to P3, critical to low, or 1-10 (default: P2)')
      .option('-a, --after <id>', 'wait for this task and join its run; may be repeated', many)
      .option('-k, --key <name>', "the task's name within the run it joins")
      .option('--idempotency-key <key>', 'the same key and input give the same task, however often it is sent')
      .option('--timeout <duration>', 'how long one attempt may take, such as 60s')
      .option('--deadline <moment>', 'not run after this: ISO 8601, or a duration from now')
      .option('--delay <duration>', 'not run before this long from now')
      .option('--agent <id>', 'the one agent that may run it')
      .option('--least-connections', 'send it to the free agent with the smallest load')
      .option('--approval', "hold it until 'muster task approve'")
      .option('-w, --wait', 'wait for it, print its result; exit 1 when it does not complete')
      .option('--wait-timeout <duration>', 'how long to wait (default: 5m)'),
    async () => (await import('./commands/submit.js')).submit,
  );
  does(
    program
      .command('run')
      .argument('<file>', 'YAML or JSON as schemas/run.json describes, or - for stdin')
      .description('submit a run of tasks from a file; prints its id, or with --wait how it ended')
      .option('-w, --wait', 'wait for all of it; exit 1 when it fails')
      .option('--wait-timeout <duration>', 'how long to wait (default: 1h)'),
    async () => (await import('./commands/run.js')).run,
  );
  does(
    program
      .command('request')
      .argument('<target>', "an agent, a capability, or 'any'")
      .argument('<action>', 'a capability of it')
      .description('ask an agent now and print its reply; nothing is stored')
      .option('-i, --input <json>', 'the input: JSON, @file, or - for stdin (default: {})')
      .option('--timeout <duration>', 'how long to wait for the reply (default: 60s)'),
    async () => (await import('./commands/request.js')).request,
  );
}

export function registerTasks(program: Command): void {
  program.commandsGroup('Look and act');
  const task = program.command('task').description('what is stored of tasks and runs');
  const module = () => import('./commands/task.js');
  does(
    task
      .command('list')
      .description('tasks, the newest runs first')
      .option('-s, --state <state>', 'in this state; may be repeated, or a list with commas', many)
      .option('-c, --capability <name>', 'of this capability')
      .option('-r, --run <id>', 'of this run')
      .option('-n, --limit <count>', 'at most so many (default: 50)'),
    async () => (await module()).taskList,
  );
  does(
    task
      .command('show')
      .argument('<id>', 'a task, or a run')
      .description('everything known of a task, or of a run and its tasks')
      .option('-t, --trace', 'where the time of the whole run went, as a waterfall'),
    async () => (await module()).taskShow,
  );
  does(
    task
      .command('why')
      .argument('<id>', 'a task, or a run')
      .description('why it is where it is: one sentence with numbers'),
    async () => (await module()).taskWhy,
  );
  does(
    task
      .command('cancel')
      .argument('<id>', 'a task')
      .description('end a task that is not final; what waits for it follows its rules')
      .option('--run', 'every unfinished task of its run'),
    async () => (await module()).taskCancel,
  );
  does(
    task.command('approve').argument('<id>', 'a task').description('let a task go on that waits for approval'),
    async () => (await module()).taskApprove,
  );
}

export function registerAgents(program: Command): void {
  const agent = program.command('agent').description('who is there and how busy they are');
  const module = () => import('./commands/agent.js');
  does(
    agent
      .command('list')
      .description('agents, the best match first')
      .option('-c, --capability <name>', 'that offer this; may be repeated', many)
      .option('-t, --tag <tag>', 'that have this tag; may be repeated', many)
      .option('-s, --search <words>', 'whose names, descriptions or tags hold these words')
      .option('--online', 'without those that are offline'),
    async () => (await module()).agentList,
  );
  does(
    agent.command('show').argument('<id>', 'an agent').description('everything known of an agent'),
    async () => (await module()).agentShow,
  );
  does(
    agent
      .command('drain')
      .argument('<id>', 'an agent')
      .description('let it finish what it has and take nothing new')
      .option('--undo', 'let it take work again'),
    async () => (await module()).agentDrain,
  );
}

export function registerQueues(program: Command): void {
  const queue = program.command('queue').description('what waits, per capability and class');
  const module = () => import('./commands/queue.js');
  does(
    queue.command('list').description('ready in the store, in the broker, and who consumes'),
    async () => (await module()).queueList,
  );
  does(
    queue.command('pause').argument('<capability>').description('start no more tasks of a capability'),
    async () => (await module()).queuePause,
  );
  does(
    queue.command('resume').argument('<capability>').description('start them again'),
    async () => (await module()).queueResume,
  );
  does(
    program
      .command('events')
      .argument('[pattern]', "'*' is one word, '#' any number, such as 'task.*' (default: all)")
      .description('what happens, as it happens, until Ctrl-C')
      .option('-n, --count <number>', 'stop after so many'),
    async () => (await import('./commands/events.js')).events,
  );
}

export function registerOperations(program: Command): void {
  program.commandsGroup('Operate');
  does(
    program
      .command('manager')
      .description('run a manager until it is told to stop; any number may run')
      .option('--metrics-port <port>', 'serve /metrics there; 0: not at all'),
    async () => (await import('./commands/manager.js')).manager,
  );
  does(
    program
      .command('doctor')
      .description('check settings, RabbitMQ, Redis and the fleet; each finding says what to do'),
    async () => (await import('./commands/doctor.js')).doctor,
  );
}
