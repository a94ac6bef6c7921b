// The public surface: everything a user of Muster may import, by name, grouped.

// Agents and what they offer.
export { RunningAgent } from './agent/agent.js';
export type { AgentOptions } from './agent/agent-options.js';
export { type Capability, type CapabilityOptions, capability, type Handler, type Offer } from './agent/capability.js';
// Clients.
export { Client, type RunHandle, type SubmitOptions, TaskHandle } from './agent/client.js';
export { type ConnectOptions, connect } from './agent/connect.js';
export type { Context, Log } from './agent/context.js';
export { type AgentDefinition, agent } from './agent/define.js';
// A manager in one's own process.
export type { Manager } from './agent/manage.js';
export type { RequestOptions } from './agent/requests.js';
export { serve } from './agent/serve.js';
export type { TopicEvent, TopicHandler } from './agent/topics.js';

// Contracts.
export type { AgentCard, AgentMatch, AgentQuery, AgentRecord, CapabilityRecord } from './contracts/agent.js';
export type { EventName, EventRecord } from './contracts/events.js';
export type { Priority, PriorityInput } from './contracts/priority.js';
export type { RetryPolicy, Run, RunSpec, Task, TaskOutcome, TaskSpec, TaskState } from './contracts/task.js';

// Errors: branch on `code`.
export { errorTable, MusterError } from './errors.js';
