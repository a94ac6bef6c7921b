/** What a reference handler may ask of its surroundings, and how it learns which commit to work on:
 *  from its own input, or from the results of the tasks it depends on. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { quoted, ReferenceFailure } from './errors.js';

/** The part of the SDK's task context the reference handlers use; any richer context fits. */
export interface ReferenceContext {
  /** Aborts when the task is cancelled, times out, or the agent stops. */
  readonly signal: AbortSignal;
  /** Absolute path of a directory of this task alone; may be removed once the handler returns. */
  readonly workspace: string;
  /** `fraction` from 0 to 1. */
  progress(fraction: number, note?: string): Promise<void>;
  readonly log: { info(message: string, fields?: object): void };
  /** Outputs of the tasks this one depends on, by their key in the run. */
  dependencies(): Promise<Record<string, unknown>>;
}

/** A path of a local git repository; never a URL, so that no agent reaches out by accident. */
export const repoField = z.string().min(1).max(4096).describe('Absolute path of a local git repository');
export const refField = z.string().min(1).max(255).describe('Branch, tag or commit');
export const headField = refField
  .optional()
  .describe('Commit to work on; when absent, the `commit` of a task this one depends on');
export const outputDirectoryField = z
  .string()
  .regex(/^\//)
  .max(4096)
  .optional()
  .describe('Absolute path; files produced are copied below it, into a folder named after the capability');

/** Every reference result names the commit it is about and a repository that holds it. */
export const commitFields = {
  repo: z.string().describe('Absolute path of a repository that holds the commit'),
  commit: z.string().describe('Full commit id'),
};

export interface Target {
  readonly repo: string;
  readonly head: string;
}

/**
 * The commit a handler works on: `input.head` if given, else the one its dependencies agree on.
 * Throws `COMMIT_MISSING` when nobody names one, `COMMITS_DISAGREE` when two dependencies differ.
 */
export async function targetOf(
  input: { readonly repo: string; readonly head?: string | undefined },
  context: ReferenceContext,
): Promise<Target> {
  if (input.head !== undefined) return { repo: input.repo, head: input.head };
  const named = Object.entries(await context.dependencies()).flatMap(([key, result]) => {
    const parsed = dependencyResult.safeParse(result);
    return parsed.success ? [{ key, ...parsed.data }] : [];
  });
  const first = named[0];
  if (first === undefined) throw commitMissing();
  const other = named.find((each) => each.commit !== first.commit);
  if (other !== undefined) throw commitsDisagree(first, other);
  return { repo: first.repo ?? input.repo, head: first.commit };
}

/** Writes one produced file to `<outputDirectory>/<capability>/<name>`; its absolute path, or `null` without a directory. */
export async function deliver(
  outputDirectory: string | undefined,
  capability: string,
  name: string,
  body: string,
): Promise<string | null> {
  if (outputDirectory === undefined) return null;
  const path = join(outputDirectory, capability, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, body);
  return path;
}

const dependencyResult = z.object({ commit: z.string().min(1), repo: z.string().min(1).optional() });

function commitMissing(): ReferenceFailure {
  return new ReferenceFailure('COMMIT_MISSING', {
    why: 'The input has no `head`, and no task this one depends on has a `commit` in its result.',
    effect: 'There is nothing to work on.',
    next: 'Give `head`, or let the task depend on one that makes a commit, such as apply-change.',
  });
}

function commitsDisagree(
  one: { readonly key: string; readonly commit: string },
  two: { readonly key: string; readonly commit: string },
): ReferenceFailure {
  return new ReferenceFailure('COMMITS_DISAGREE', {
    why: `The dependencies ${quoted(one.key)} and ${quoted(two.key)} name different commits (${one.commit}, ${two.commit}).`,
    effect: 'It is not clear which one is meant, so nothing was done.',
    next: 'Give `head` in the parameters of this task.',
  });
}
