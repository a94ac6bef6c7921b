/** Entry of one reference agent's process: `node dist/cli/reference-agent.js code-review`.
 *  Where it connects to comes from the settings, as for every other program. */
import { referenceAgents } from '../reference/agents.js';
import { runMember, say } from './member.js';

const id = process.argv[2] ?? '';
const agent = referenceAgents.get(id);

if (agent === undefined) {
  const known = [...referenceAgents.keys()].join(', ');
  say(`There is no reference agent '${id}', so none was started. Next: name one of ${known}.`);
  process.exitCode = 2;
} else {
  void runMember(async () => {
    const running = await agent.definition.start();
    return {
      async stop() {
        await running.stop();
        await agent.cleanUp();
      },
    };
  });
}
