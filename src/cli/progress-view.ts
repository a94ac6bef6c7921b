/** The live view of a run on stderr: on a terminal one line per task, redrawn in place; elsewhere one line per change.
 *  Asks the store a few times a second, like any other client could. */
import { setTimeout as delay } from 'node:timers/promises';
import colors from 'picocolors';
import type { Client } from '../agent/client.js';
import { isFinal, type Task } from '../contracts/task.js';
import { chapterOf, type TaskLine, taskLine } from './task-line.js';

const LOOK_MS = 120;

export interface Screen {
  write(text: string): void;
  readonly isTTY: boolean;
  readonly columns: number;
}

/** Shows the run until each of its tasks is final, and resolves to them as they ended. Rejects with the signal's reason. */
export async function watchRun(
  client: Client,
  taskIds: readonly string[],
  screen: Screen,
  signal: AbortSignal,
): Promise<readonly Task[]> {
  const draw = screen.isTTY ? redrawing(screen) : appending(screen);
  for (;;) {
    const found = await Promise.all(taskIds.map((id) => client.task(id)));
    const tasks = found.filter((task) => task !== undefined);
    draw(tasks, Date.now());
    if (tasks.every((task) => isFinal(task.status))) return tasks;
    await delay(LOOK_MS, undefined, { signal });
  }
}

type Draw = (tasks: readonly Task[], nowMs: number) => void;

function redrawing(screen: Screen): Draw {
  const paint = colors.createColors(process.env.NO_COLOR === undefined || process.env.NO_COLOR === '');
  let drawn = 0;
  return (tasks, nowMs) => {
    const width = Math.max(40, screen.columns) - 1;
    const lines = tasks.map((task) => painted(taskLine(task, nowMs), width, paint));
    // Each line is cleared to its end: what was longer before must not shine through.
    const up = drawn === 0 ? '' : `\u001b[${drawn}A`;
    screen.write(`${up}${lines.map((line) => `\r${line}\u001b[K\n`).join('')}`);
    drawn = lines.length;
  };
}

function appending(screen: Screen): Draw {
  const chapters = new Map<string, string>();
  return (tasks, nowMs) => {
    for (const task of tasks) {
      const chapter = chapterOf(task);
      const isNews = chapters.get(task.id) !== chapter;
      chapters.set(task.id, chapter);
      if (!isNews || !isTold(task)) continue;
      const { mark, text } = taskLine(task, nowMs);
      screen.write(`${mark} ${text}\n`);
    }
  };
}

/** That it waits is no news, everything does at first; nor is that it is about to end: it says so itself in a moment. */
function isTold({ status, progress }: Task): boolean {
  if (status === 'running') return progress?.fraction !== 1;
  return isFinal(status) || status === 'retrying';
}

function painted({ mark, text }: TaskLine, width: number, paint: ReturnType<typeof colors.createColors>): string {
  const colour = { '✓': paint.green, '✗': paint.red, '-': paint.yellow, '↻': paint.yellow, '▸': paint.cyan }[mark];
  const room = width - 2;
  const shown = text.length <= room ? text : `${text.slice(0, room - 1)}…`;
  return `${colour === undefined ? paint.dim(mark) : colour(mark)} ${mark === '·' ? paint.dim(shown) : shown}`;
}
