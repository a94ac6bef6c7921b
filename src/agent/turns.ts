// Whose turn it is (hop 5): the class by decide/drain.ts, and within a class one source after another. Holds what was given so far.
import { inboxQueue, taskQueue } from '../bus/topology.js';
import type { PriorityClass } from '../contracts/priority.js';
import { type DrainState, FRESH_DRAIN, nextClass } from '../decide/drain.js';
import type { Bus, Delivery } from '../ports.js';

export interface Source {
  readonly queue: string;
  /** undefined: the agent's inbox. */
  readonly capability: string | undefined;
  readonly priority: PriorityClass;
}

export class Turns {
  readonly #sources: readonly Source[];
  /** Per class, which source of it is asked first next time: capabilities take turns. */
  readonly #turn = [0, 0, 0, 0];
  #drain: DrainState = FRESH_DRAIN;

  constructor(sources: readonly Source[]) {
    this.#sources = sources;
  }

  /** The class to serve now, counted as served. `waiting`: which classes have something. */
  take(waiting: readonly boolean[]): PriorityClass | undefined {
    const next = nextClass(this.#drain, waiting);
    if (next === undefined) return undefined;
    this.#drain = next.state;
    return next.class;
  }

  /** The next message by class; inside a class its sources take turns. A class counts as served only if a message came. */
  async get(bus: Bus, open: readonly boolean[], paused: ReadonlySet<string>): Promise<Delivery | undefined> {
    const waiting = [...open];
    for (;;) {
      const choice = nextClass(this.#drain, waiting);
      if (choice === undefined) return undefined;
      const sources = this.#sources.filter(
        (source) =>
          source.priority === choice.class && (source.capability === undefined || !paused.has(source.capability)),
      );
      for (let i = 0; i < sources.length; i++) {
        const source = sources[(this.#turn[choice.class]! + i) % sources.length]!;
        const delivery = await bus.get(source.queue);
        if (delivery === undefined) continue;
        this.#turn[choice.class] = (this.#turn[choice.class]! + i + 1) % sources.length;
        this.#drain = choice.state;
        return delivery;
      }
      waiting[choice.class] = false;
    }
  }
}

const BY_NAME: Readonly<Record<string, PriorityClass>> = { P0: 0, P1: 1, P2: 2, P3: 3 };

/** The class of a delivery: its header (an inbox holds all classes), else the end of its routing key. */
export function classOf(delivery: Delivery): PriorityClass {
  const header = delivery.message.headers['x-muster-priority'];
  if (typeof header === 'string') return BY_NAME[header] ?? 2;
  const last = delivery.message.routingKey.slice(-2).toUpperCase();
  return BY_NAME[last] ?? 2;
}

/** Where an agent's tasks come from: four queues per capability, and its inbox, which is asked with class P1. */
export function sourcesOf(prefix: string, agentId: string, capabilities: readonly string[]): Source[] {
  const classes = [0, 1, 2, 3] as const;
  return [
    { queue: inboxQueue(prefix, agentId), capability: undefined, priority: 1 },
    ...capabilities.flatMap((capability) =>
      classes.map((priority) => ({ queue: taskQueue(prefix, capability, priority), capability, priority })),
    ),
  ];
}
