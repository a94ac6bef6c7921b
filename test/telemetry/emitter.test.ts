import type { EventRecord } from '../../src/contracts/events.js';
import type { Clock } from '../../src/ports.js';
import { createEmitter } from '../../src/telemetry/emitter.js';

function clockAt(now: () => number): Clock {
  return { now, monotonic: () => 0, after: () => () => {} };
}
const ready = { task: 'r1', capability: 'summarise' };
const noon = Date.UTC(2026, 0, 1, 12);

it('tells every listener what happened, when and where, in order', () => {
  const emitter = createEmitter(
    'manager',
    clockAt(() => noon),
  );
  const heard: [string, EventRecord][] = [];
  emitter.on((record) => heard.push(['first', record]));
  emitter.on((record) => heard.push(['second', record]));
  emitter.emit('task.ready', ready);
  const record = { event: 'task.ready', at: '2026-01-01T12:00:00.000Z', source: 'manager', ...ready };
  expect(heard).toEqual([
    ['first', record],
    ['second', record],
  ]);
});

it('does not even read the clock when nobody listens', () => {
  const now = jest.fn(() => noon);
  const emitter = createEmitter('manager', clockAt(now));
  emitter.emit('task.ready', ready);
  const cancel = emitter.on(() => {});
  cancel();
  cancel();
  emitter.emit('task.ready', ready);
  expect(now).not.toHaveBeenCalled();
});

it('gives each event its own time', () => {
  let now = noon;
  const emitter = createEmitter(
    'manager',
    clockAt(() => now),
  );
  const times: string[] = [];
  emitter.on((record) => times.push(record.at));
  emitter.emit('task.ready', ready);
  emitter.emit('task.ready', ready);
  now += 1;
  emitter.emit('task.ready', ready);
  expect(times).toEqual(['2026-01-01T12:00:00.000Z', '2026-01-01T12:00:00.000Z', '2026-01-01T12:00:00.001Z']);
});

it('survives a listener that throws at everything, and says so once', () => {
  const emitter = createEmitter(
    'manager',
    clockAt(() => noon),
  );
  const heard: string[] = [];
  emitter.on(function broken() {
    throw new Error('no disk');
  });
  emitter.on((record) => heard.push(record.event === 'loop.failed' ? `${record.loop}: ${record.error}` : record.event));
  emitter.emit('task.ready', ready);
  emitter.emit('task.ready', ready);
  expect(heard).toEqual(['listener broken: Error: no disk', 'task.ready', 'task.ready']);
});

it('finishes an emit with the listeners it began with', () => {
  const emitter = createEmitter(
    'manager',
    clockAt(() => noon),
  );
  const heard: string[] = [];
  const cancel = emitter.on(() => {
    cancel();
    emitter.on(() => heard.push('new'));
  });
  emitter.on(() => heard.push('old'));
  emitter.emit('task.ready', ready);
  expect(heard).toEqual(['old']);
});

it('takes the same function twice as two listeners', () => {
  const emitter = createEmitter(
    'manager',
    clockAt(() => noon),
  );
  const listener = jest.fn();
  const cancel = emitter.on(listener);
  emitter.on(listener);
  cancel();
  emitter.emit('task.ready', ready);
  expect(listener).toHaveBeenCalledTimes(1);
});
