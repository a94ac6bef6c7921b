import { agent, capability, connect } from 'muster';
import { z } from 'zod';

const greet = capability('greet', { input: z.object({ name: z.string() }), output: z.string() });
const greeting = greet.handle(({ name }) => `Hello, ${name}!`);

const client = await connect();
const greeter = await agent('greeter', greeting).start(client);
const task = await client.submit(greet, { name: 'world' });
console.log(await client.result(task));
await greeter.stop();
await client.close();
