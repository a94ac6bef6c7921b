// `muster agent list|show|drain`: who is there, what they can do and how busy they are; and stopping one from taking work.
import type { AgentRecord } from '../../contracts/agent.js';
import { matchAgents } from '../../decide/match.js';
import { formatDuration } from '../../decide/waterfall.js';
import { since } from '../../decide/why-snapshot.js';
import { AgentNotFound } from '../../errors.js';
import { type Options, text } from '../command.js';
import { EXITS } from '../exits.js';
import { type Output, paint, painted, pairs, table } from '../output.js';
import { readName } from '../read.js';
import { withClient, withStores } from '../session.js';

type Words = readonly (string | undefined)[];

export async function agentList(output: Output, _words: Words, options: Options): Promise<number> {
  const capabilities = ((options.capability as string[] | undefined) ?? []).map((name) =>
    readName(name, '--capability'),
  );
  const tags = (options.tag as string[] | undefined) ?? [];
  const keyword = text(options, 'search');
  return withStores(async ({ agents, now }) => {
    const found = matchAgents(await agents.all(), {
      include_offline: options.online !== true,
      ...(capabilities.length === 0 ? {} : { capabilities }),
      ...(tags.length === 0 ? {} : { tags }),
      ...(keyword === undefined ? {} : { keyword }),
    });
    const nowMs = await now();
    output.answer(found, () =>
      found.length === 0
        ? 'No such agents.'
        : table(
            ['agent', 'state', 'in flight', 'health', 'heartbeat', 'capabilities'],
            found.map(({ agent }) => row(agent, nowMs)),
          ),
    );
    return EXITS.ok.code;
  });
}

function row(agent: AgentRecord, nowMs: number): string[] {
  return [
    agent.agent_id,
    painted(stateOf(agent)),
    `${agent.in_flight}/${agent.capacity}`,
    painted(agent.health_status),
    `${formatDuration(since(agent.last_heartbeat, nowMs))} ago`,
    agent.capabilities.map((capability) => capability.name).join(', '),
  ];
}

function stateOf(agent: AgentRecord): string {
  return agent.draining && agent.status !== 'offline' ? 'draining' : agent.status;
}

export async function agentShow(output: Output, [word]: Words): Promise<number> {
  const id = readName(word ?? '', 'The agent id');
  return withStores(async ({ agents }) => {
    const agent = (await agents.all()).find((record) => record.agent_id === id);
    if (agent === undefined) throw AgentNotFound(id);
    output.answer(agent, () => agentText(agent));
    return EXITS.ok.code;
  });
}

function agentText(agent: AgentRecord): string[] {
  return [
    ...pairs([
      ['agent', `${paint.bold(agent.agent_id)} (${agent.agent_name})`],
      ['state', painted(stateOf(agent))],
      ['instance', `${agent.instance} (${agent.kind})`],
      ['in flight', `${agent.in_flight} of ${agent.capacity}`],
      ['health', painted(agent.health_status)],
      ['heartbeat', agent.last_heartbeat],
      ['joined', agent.created_at],
      ['address', agent.base_url],
      ['tags', agent.tags.length === 0 ? undefined : agent.tags.join(', ')],
      ['metadata', Object.keys(agent.metadata).length === 0 ? undefined : JSON.stringify(agent.metadata)],
    ]),
    '',
    ...table(
      ['capability', 'cost', 'description'],
      agent.capabilities.map(({ name, cost_estimate, description }) => [name, cost_estimate ?? '', description]),
    ),
  ];
}

export async function agentDrain(output: Output, [word]: Words, options: Options): Promise<number> {
  const id = readName(word ?? '', 'The agent id');
  const draining = options.undo !== true;
  return withClient(async ({ instance }) => {
    if (!(await instance.ports.agents.setDraining(id, draining))) throw AgentNotFound(id);
    const agent = (await instance.ports.agents.all()).find((record) => record.agent_id === id);
    const inFlight = agent?.in_flight ?? 0;
    output.answer({ agent: id, draining, in_flight: inFlight }, () =>
      draining ? `${id} takes no new work; ${inFlight} in flight go on` : `${id} takes work again`,
    );
    return EXITS.ok.code;
  });
}
