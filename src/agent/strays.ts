// Tasks that are held in this instance's name and run nowhere: a claim or a handover was granted, and its answer was lost on the way
// (Redis cut the connection, a command timed out). Their lease is alive, so nobody else would ever take them: they are handed back.
import { errorRecord } from '../errors.js';
import type { Cancel } from '../ports.js';
import type { Instance } from './instance.js';

/** A task must be seen astray twice, this far apart: a grant on its way here looks the same for a moment. */
const LOOK_MS = 5000;

export class Strays {
  readonly #instance: Instance;
  readonly #isOurs: (id: string) => boolean;
  #suspects: ReadonlySet<string> = new Set();
  #timer: Cancel | undefined;
  #stopped = false;

  /** `isOurs`: whether a task is running here, or about to. */
  constructor(instance: Instance, isOurs: (id: string) => boolean) {
    this.#instance = instance;
    this.#isOurs = isOurs;
  }

  watch(): void {
    this.#timer = this.#instance.ports.clock.after(LOOK_MS, () => {
      this.look()
        .catch((error) =>
          this.#instance.emitter.emit('loop.failed', { loop: 'strays', error: errorRecord(error).message }),
        )
        .finally(() => {
          if (!this.#stopped) this.watch();
        });
    });
  }

  /** Hands back what was astray the last time and still is; no attempt is burned. */
  async look(): Promise<void> {
    const held = await this.#instance.ports.tasks.held(this.#instance.id);
    const astray = held.filter((id) => !this.#isOurs(id));
    const known = this.#suspects;
    this.#suspects = new Set(astray);
    for (const id of astray) if (known.has(id)) await this.#handBack(id);
  }

  async #handBack(id: string): Promise<void> {
    const { ports, emitter, manager, id: holder } = this.#instance;
    const token = await ports.tasks.token(id, holder);
    if (token === undefined || this.#isOurs(id)) return;
    const answer = await ports.tasks.settle({ id, token, holder, verdict: { do: 'hand_back' } });
    if (answer.outcome !== 'settled') return;
    emitter.emit('task.rescued', {
      task: id,
      capability: answer.ready[0]?.capability ?? '',
      agent: holder,
      cause: 'handed_back',
    });
    await manager.follow(answer);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.();
  }
}
