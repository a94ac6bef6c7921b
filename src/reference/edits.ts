/** The scripted edits feature-dev applies: their schema, and the pure step from old text to new text. */
import { z } from 'zod';
import { quoted, ReferenceFailure } from './errors.js';

const file = z.string().min(1).max(1024).describe('Path relative to the repository');

/** Either replaces the single place where `find` occurs, or appends (making the file when it is new). */
export const editField = z.union([
  z.strictObject({ file, find: z.string().min(1), replace: z.string() }),
  z.strictObject({ file, append: z.string().min(1) }),
]);

export type Edit = z.infer<typeof editField>;

/**
 * The text of a file after an edit; `before` is `null` when the file does not exist.
 * Throws `EDIT_NOT_FOUND` or `EDIT_AMBIGUOUS` unless `find` occurs exactly once.
 */
export function applyEdit(edit: Edit, before: string | null): string {
  if ('append' in edit) {
    // A last line without its newline would otherwise be glued to the first appended one.
    const gap = before === null || before === '' || before.endsWith('\n') ? '' : '\n';
    return (before ?? '') + gap + edit.append;
  }
  const at = before?.indexOf(edit.find) ?? -1;
  if (before === null || at === -1) throw notFound(edit.file, edit.find, before === null);
  if (before.indexOf(edit.find, at + 1) !== -1) throw ambiguous(edit.file, edit.find);
  return before.slice(0, at) + edit.replace + before.slice(at + edit.find.length);
}

function notFound(name: string, find: string, absent: boolean): ReferenceFailure {
  return new ReferenceFailure('EDIT_NOT_FOUND', {
    why: absent ? `There is no file ${quoted(name)} to edit.` : `${quoted(name)} does not contain ${quoted(find)}.`,
    effect: 'No commit was made.',
    next: 'Look at the file at that commit and correct `find`, or use `append`, which makes a new file.',
  });
}

function ambiguous(name: string, find: string): ReferenceFailure {
  return new ReferenceFailure('EDIT_AMBIGUOUS', {
    why: `${quoted(name)} contains ${quoted(find)} more than once.`,
    effect: 'No commit was made.',
    next: 'Make `find` longer until it occurs once.',
  });
}
