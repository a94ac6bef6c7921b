import { agent, capability, connect } from 'muster';
import { z } from 'zod';

const greet = capability('greet', { input: z.object({ name: z.string() }), output: z.string() });
const greeter = agent(
  'greeter',
  greet.handle(({ name }) => `Hello, ${name}!`),
);

const client = await connect();
const running = await greeter.start(client);
const task = await client.submit(greet, { name: 'world' });
console.log(await client.result(task));
await running.stop();
await client.close();
