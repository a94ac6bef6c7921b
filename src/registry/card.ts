// What an agent's card becomes before it is stored: schemas spelled out, and nothing in it that only the registry may say.
// Used by both agent stores, so that a record never differs by where it is kept.
import type { AgentCard } from '../contracts/agent.js';
import { parametersSchema } from '../contracts/short-schema.js';
import { InvalidInput } from '../errors.js';

/** Fields of a record that the registry sets; a card that carries them (it is a loose object) does not decide them. */
const SET_BY_REGISTRY = [
  'instance',
  'kind',
  'status',
  'health_status',
  'draining',
  'in_flight',
  'last_heartbeat',
  'created_at',
  'updated_at',
] as const;

/** Instances of managers and clients are named so; an agent of that id could not be told apart from them. */
const RESERVED_IDS: ReadonlySet<string> = new Set(['manager', 'client']);

/** Throws INVALID_INPUT naming every capability field that is wrong. */
export function storedCard(card: AgentCard): AgentCard {
  if (RESERVED_IDS.has(card.agent_id)) {
    throw InvalidInput('The agent card', `agent_id: '${card.agent_id}' is a reserved name; choose another`);
  }
  const problems: string[] = [];
  const capabilities = card.capabilities.map((capability, i) => {
    const schema = parametersSchema(capability.parameters, `capabilities[${i}].parameters`);
    if (schema.ok) return { ...capability, parameters: schema.schema };
    problems.push(...schema.problems);
    return capability;
  });
  const names = card.capabilities.map((capability) => capability.name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) problems.push(`capabilities: '${twice}' is there twice`);
  if (problems.length > 0) throw InvalidInput('The agent card', problems.join('; '));

  const stored: Record<string, unknown> = { ...card, capabilities };
  for (const field of SET_BY_REGISTRY) delete stored[field];
  return stored as AgentCard;
}
