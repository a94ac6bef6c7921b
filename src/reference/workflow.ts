/** The demo run as data: one agent changes the code, three look at the result side by side, one deploys it.
 *  No head is given after the first task: each reads the commit from the results of those it waits for. */
import { basename } from 'node:path';
import type { z } from 'zod';
import type { runTestsInput } from './cicd.js';
import type { codeReviewInput } from './code-review.js';
import type { writeDocsInput } from './documentation.js';
import type { Edit } from './edits.js';
import type { applyChangeInput } from './feature-dev.js';
import type { deploySiteInput } from './infrastructure.js';

export interface DemoRunOptions {
  /** Absolute path of a local git repository. */
  readonly repo: string;
  /** What the review compares with, such as `main`. */
  readonly base: string;
  /** What the change builds on, such as `change`. */
  readonly head: string;
  /** Adds a branch `muster/…` to the repository; nothing else in it is ever changed. */
  readonly push: boolean;
  /** Default: a line at the end of CHANGELOG.md, which fits any repository. */
  readonly edits?: readonly Edit[];
  /** Commit message. */
  readonly message?: string;
  /** Absolute path; reports, documentation and the site are copied below it. */
  readonly outputDirectory?: string;
}

/** A task of the run, `parameters` being the input of the capability's handler. */
export type DemoTask = {
  readonly key: string;
  readonly priority: 'P0' | 'P1' | 'P2' | 'P3';
  /** Keys of the tasks whose results it waits for. */
  readonly after: readonly string[];
} & (
  | { readonly capability: 'apply-change'; readonly parameters: z.input<typeof applyChangeInput> }
  | { readonly capability: 'code-review'; readonly parameters: z.input<typeof codeReviewInput> }
  | { readonly capability: 'run-tests'; readonly parameters: z.input<typeof runTestsInput> }
  | { readonly capability: 'write-docs'; readonly parameters: z.input<typeof writeDocsInput> }
  | { readonly capability: 'deploy-site'; readonly parameters: z.input<typeof deploySiteInput> }
);

export interface DemoRun {
  readonly labels: Readonly<Record<string, string>>;
  readonly tasks: readonly DemoTask[];
}

const defaultEdits: readonly Edit[] = [{ file: 'CHANGELOG.md', append: '- Looked over by a fleet of agents.\n' }];

/** apply-change, then code-review, run-tests and write-docs in parallel, then deploy-site. */
export function demoRun(options: DemoRunOptions): DemoRun {
  const { repo, base, head, push } = options;
  const shared = {
    repo,
    ...(options.outputDirectory === undefined ? {} : { outputDirectory: options.outputDirectory }),
  };
  const change = {
    ...shared,
    head,
    push,
    edits: [...(options.edits ?? defaultEdits)],
    message: options.message ?? 'Note the demo run in the changelog',
  };
  const after = ['change'];
  return {
    labels: { workflow: 'demo', repository: basename(repo).slice(0, 256) },
    tasks: [
      { key: 'change', capability: 'apply-change', priority: 'P1', parameters: change, after: [] },
      { key: 'review', capability: 'code-review', priority: 'P1', parameters: { ...shared, base }, after },
      { key: 'tests', capability: 'run-tests', priority: 'P1', parameters: { ...shared, base }, after },
      { key: 'docs', capability: 'write-docs', priority: 'P2', parameters: shared, after },
      {
        key: 'deploy',
        capability: 'deploy-site',
        priority: 'P2',
        parameters: shared,
        after: ['review', 'tests', 'docs'],
      },
    ],
  };
}
