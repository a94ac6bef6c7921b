// A TCP proxy in front of a broker: connections through it can be cut, refused and frozen, one process's at a time.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class TcpProxy {
  readonly #server: Server;
  readonly #pairs = new Set<{ readonly near: Socket; readonly far: Socket }>();
  #url = '';
  #isRefusing = false;
  #isFrozen = false;

  private constructor(target: URL) {
    this.#server = createServer((near) => {
      if (this.#isRefusing) {
        near.destroy();
        return;
      }
      const far = connect(Number(target.port), target.hostname);
      const pair = { near, far };
      this.#pairs.add(pair);
      const end = () => {
        this.#pairs.delete(pair);
        near.destroy();
        far.destroy();
      };
      for (const socket of [near, far]) {
        socket.setNoDelay(true);
        socket.on('error', end);
        socket.on('close', end);
      }
      near.pipe(far);
      far.pipe(near);
      if (this.#isFrozen) this.#freeze(pair);
    });
  }

  static async start(target: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(new URL(target));
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    const url = new URL(target);
    url.port = String((proxy.#server.address() as AddressInfo).port);
    url.hostname = '127.0.0.1';
    proxy.#url = url.href;
    return proxy;
  }

  /** The address of the target by way of the proxy. */
  get url(): string {
    return this.#url;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets what is connected now; new connections are taken. */
  cut(): void {
    for (const { near, far } of [...this.#pairs]) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** Resets the near end only: the far end believes in the connection until it misses heartbeats. */
  abandon(): void {
    for (const pair of [...this.#pairs]) {
      pair.far.unpipe();
      pair.near.removeAllListeners('close');
      pair.near.resetAndDestroy();
    }
  }

  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing;
  }

  /** Nothing passes any more, in neither direction, and nobody is told. */
  freeze(): void {
    this.#isFrozen = true;
    for (const pair of this.#pairs) this.#freeze(pair);
  }

  thaw(): void {
    this.#isFrozen = false;
    for (const { near, far } of this.#pairs) {
      near.pipe(far);
      far.pipe(near);
    }
  }

  async stop(): Promise<void> {
    this.#isRefusing = true;
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await stopped;
  }

  #freeze({ near, far }: { readonly near: Socket; readonly far: Socket }): void {
    near.unpipe(far);
    far.unpipe(near);
    near.pause();
    far.pause();
  }
}
