// An exchange in memory: which queues take a message, by the rules of AMQP's topic, direct and fanout exchanges.
import type { ExchangeType } from '../ports.js';

// Routes found before, per routing key; a fleet uses a few hundred keys.
const MAX_REMEMBERED = 1000;

export class MemoryExchange {
  readonly name: string;
  readonly type: ExchangeType;
  readonly alternate: string | undefined;
  #bindings: { readonly queue: string; readonly routingKey: string; readonly words: readonly string[] }[] = [];
  readonly #routes = new Map<string, readonly string[]>();

  constructor(name: string, type: ExchangeType, alternate: string | undefined) {
    this.name = name;
    this.type = type;
    this.alternate = alternate;
  }

  bind(queue: string, routingKey: string): void {
    const isBound = this.#bindings.some((binding) => binding.queue === queue && binding.routingKey === routingKey);
    if (!isBound) this.#bindings.push({ queue, routingKey, words: routingKey.split('.') });
    this.#routes.clear();
  }

  unbind(queue: string): void {
    this.#bindings = this.#bindings.filter((binding) => binding.queue !== queue);
    this.#routes.clear();
  }

  /** The queues that take a message with this key, each once. */
  route(routingKey: string): readonly string[] {
    const known = this.#routes.get(routingKey);
    if (known !== undefined) return known;
    const words = routingKey.split('.');
    const queues = new Set<string>();
    for (const binding of this.#bindings) {
      if (
        this.type === 'fanout' ||
        (this.type === 'direct' && binding.routingKey === routingKey) ||
        (this.type === 'topic' && matches(binding.words, words))
      ) {
        queues.add(binding.queue);
      }
    }
    const route = [...queues];
    if (this.#routes.size >= MAX_REMEMBERED) this.#routes.clear();
    this.#routes.set(routingKey, route);
    return route;
  }
}

/** `*` stands for one word, `#` for any number of words, also none. */
export function matches(pattern: readonly string[], words: readonly string[]): boolean {
  // What may still match after the words read so far: positions in the pattern.
  let open = afterHashes(pattern, new Set([0]));
  for (const word of words) {
    const next = new Set<number>();
    for (const at of open) {
      if (pattern[at] === '#') next.add(at);
      else if (at < pattern.length && (pattern[at] === '*' || pattern[at] === word)) next.add(at + 1);
    }
    open = afterHashes(pattern, next);
  }
  return open.has(pattern.length);
}

/** A `#` may also stand for nothing. */
function afterHashes(pattern: readonly string[], positions: Set<number>): Set<number> {
  for (const at of positions) {
    if (pattern[at] === '#') positions.add(at + 1);
  }
  return positions;
}
