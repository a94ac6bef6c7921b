/** Every error a reference agent raises: what was wrong, what that means, what to do next.
 *  Stands beside the handlers; callers branch on `code`, never on the message. */
import { type ErrorTraits, MusterError } from '../errors.js';

/** `retryable: false` means a second attempt with the same input must fail the same way. */
const failures = {
  NOT_A_REPOSITORY: { status: 422, retryable: false },
  UNKNOWN_COMMIT: { status: 422, retryable: false },
  UNSAFE_REF: { status: 422, retryable: false },
  UNSAFE_PATH: { status: 422, retryable: false },
  COMMIT_MISSING: { status: 422, retryable: false },
  COMMITS_DISAGREE: { status: 422, retryable: false },
  COMMAND_NOT_ALLOWED: { status: 422, retryable: false },
  DIRECTORY_NOT_EMPTY: { status: 409, retryable: false },
  EDIT_NOT_FOUND: { status: 422, retryable: false },
  EDIT_AMBIGUOUS: { status: 422, retryable: false },
  EMPTY_CHANGE: { status: 422, retryable: false },
  BRANCH_TAKEN: { status: 409, retryable: false },
  TESTS_FAILED: { status: 409, retryable: false },
  BUILD_FAILED: { status: 422, retryable: false },
  NOTHING_TO_DEPLOY: { status: 422, retryable: false },
  TOO_LARGE: { status: 413, retryable: false },
  UNHEALTHY: { status: 502, retryable: true },
  GIT_FAILED: { status: 500, retryable: true },
  COMMAND_MISSING: { status: 500, retryable: true },
} as const satisfies Record<string, ErrorTraits>;

export type ReferenceCode = keyof typeof failures;

/** The three sentences an operator needs: why it happened, what was (not) done, what helps. */
export interface Explanation {
  readonly why: string;
  readonly effect: string;
  readonly next: string;
}

/** Thrown by everything in `src/reference`; its message is the explanation in one line. */
export class ReferenceFailure extends MusterError {
  declare readonly code: ReferenceCode;
  readonly explanation: Explanation;

  constructor(code: ReferenceCode, explanation: Explanation, cause?: unknown) {
    super(code, failures[code], `${explanation.why} ${explanation.effect} ${explanation.next}`, { cause });
    this.name = 'ReferenceFailure';
    this.explanation = explanation;
  }
}

/** A name from outside, safe to print: control characters escaped, cut at 120 characters, quoted. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 119)}…` : name);
}
