/** Which repository and which two commits a demo looks at: a small one made for it, or the user's own, which is only read.
 *  Everything that can be wrong with the choice is found here, before anything is started. */
import { resolve } from 'node:path';
import { makeDemoRepository } from '../reference/demo-repository.js';
import { mergeBase, openRepository, resolveCommit, runGit, type SourceRepository } from '../reference/repository.js';
import type { DemoRunOptions } from '../reference/workflow.js';

export interface Wish {
  /** Any path of the user's; undefined: the demo's own. */
  readonly repo: string | undefined;
  readonly base: string | undefined;
  readonly head: string | undefined;
}

export type Choice = Pick<DemoRunOptions, 'repo' | 'base' | 'head' | 'push' | 'edits' | 'message'> & {
  /** What is looked at, for people. */
  readonly title: string;
  /** What may surprise about it. */
  readonly note?: string;
};

/** Branches that others are compared with, the likeliest first. */
const TRUNKS = ['main', 'master', 'origin/main', 'origin/master'];

/** A repository with a change worth reviewing, made at `directory`. */
export async function madeRepository(directory: string, signal: AbortSignal): Promise<Choice> {
  const { repo, base, head, edits, message } = await makeDemoRepository(directory, signal);
  return {
    repo,
    base,
    head,
    edits,
    message,
    push: true,
    title: `a small repository made for this demo, ${base}..${head}`,
  };
}

/**
 * The user's repository. Without `base`: where the branch left main; on main itself, the commit before.
 * Throws NOT_A_REPOSITORY, UNKNOWN_COMMIT or UNSAFE_REF.
 */
export async function usersRepository(wish: Wish & { readonly repo: string }, signal: AbortSignal): Promise<Choice> {
  const source = await openRepository(resolve(wish.repo), signal);
  const head = await resolveCommit(source, wish.head ?? 'HEAD', signal);
  const base =
    wish.base === undefined ? await likelyBase(source, head, signal) : await resolveCommit(source, wish.base, signal);
  const status = await runGit(source.path, ['status', '--porcelain'], signal);
  const uncommitted = wish.head === undefined && status.exitCode === 0 && status.stdout.trim() !== '';
  return {
    repo: source.path,
    base,
    head,
    push: false,
    title: `${source.path}, ${base.slice(0, 10)}..${head.slice(0, 10)}`,
    ...(uncommitted ? { note: 'It has changes that are not committed; they are not looked at.' } : {}),
  };
}

async function likelyBase(source: SourceRepository, head: string, signal: AbortSignal): Promise<string> {
  for (const trunk of TRUNKS) {
    const tip = await resolveCommit(source, trunk, signal).catch(() => undefined);
    if (tip === undefined) continue;
    const common = await mergeBase(source, tip, head, signal);
    if (common !== null && common !== head) return common;
  }
  // On the trunk itself, or no trunk: the last commit alone. A first commit is compared with itself.
  return resolveCommit(source, `${head}~1`, signal).catch(() => head);
}
