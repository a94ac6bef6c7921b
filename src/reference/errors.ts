/** Every error a reference agent raises: what was wrong, what that means, what to do next.
 *  Stands beside the handlers; callers branch on `code`, never on the message. */

/** `retryable: false` means a second attempt with the same input must fail the same way. */
const failures = {
  NOT_A_REPOSITORY: { retryable: false },
  UNKNOWN_COMMIT: { retryable: false },
  UNSAFE_REF: { retryable: false },
  UNSAFE_PATH: { retryable: false },
  COMMIT_MISSING: { retryable: false },
  COMMITS_DISAGREE: { retryable: false },
  DIRECTORY_NOT_EMPTY: { retryable: false },
  EDIT_NOT_FOUND: { retryable: false },
  EDIT_AMBIGUOUS: { retryable: false },
  EMPTY_CHANGE: { retryable: false },
  BRANCH_TAKEN: { retryable: false },
  COMMAND_NOT_ALLOWED: { retryable: false },
  TESTS_FAILED: { retryable: false },
  BUILD_FAILED: { retryable: false },
  NOTHING_TO_DEPLOY: { retryable: false },
  TOO_LARGE: { retryable: false },
  UNHEALTHY: { retryable: true },
  GIT_FAILED: { retryable: true },
  COMMAND_MISSING: { retryable: true },
} as const satisfies Record<string, { readonly retryable: boolean }>;

export type ReferenceCode = keyof typeof failures;

/** The three sentences an operator needs: why it happened, what was (not) done, what helps. */
export interface Explanation {
  readonly why: string;
  readonly effect: string;
  readonly next: string;
}

/** Thrown by everything in `src/reference`; its message is the explanation in one line. */
export class ReferenceFailure extends Error {
  override readonly name = 'ReferenceFailure';
  readonly code: ReferenceCode;
  readonly explanation: Explanation;
  readonly retryable: boolean;

  constructor(code: ReferenceCode, explanation: Explanation, cause?: unknown) {
    super(
      `${explanation.why} ${explanation.effect} ${explanation.next}`,
      ...(cause === undefined ? [] : [{ cause }]),
    );
    this.code = code;
    this.explanation = explanation;
    this.retryable = failures[code].retryable;
  }
}

/** A name from outside, safe to print: control characters escaped, cut at 120 characters, quoted. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 119)}…` : name);
}
