/** The patterns a review objects to, as data, and the pure step that finds them in the added lines of one file.
 *  Code rules look at text with strings and comments blanked, so talking about eval is not using it. */
import type { AddedLine } from './patch.js';
import { maskSource } from './source-mask.js';

export type Severity = 'error' | 'warning' | 'info';

export interface Finding {
  readonly file: string;
  /** 1-based; 1 also stands for the file as a whole. */
  readonly line: number;
  readonly rule: string;
  readonly severity: Severity;
  readonly message: string;
}

interface Rule {
  readonly rule: string;
  readonly severity: Severity;
  /** `code`: strings and comments blanked. `text`: comments blanked. `raw`: the line as it is, in any kind of file. */
  readonly look: 'code' | 'text' | 'raw';
  readonly pattern: RegExp;
  readonly message: string;
  /** Applies only when the whole file matches too. */
  readonly when?: RegExp;
}

const rules: readonly Rule[] = [
  {
    rule: 'no-eval',
    severity: 'error',
    look: 'code',
    pattern: /(?<![\w$.])eval\s*\(|\bnew\s+Function\s*\(|\b(?:globalThis|window)\.eval\s*\(/,
    message: 'Runs text as code; whoever controls the text controls the process.',
  },
  {
    rule: 'shell-command',
    severity: 'error',
    look: 'code',
    pattern:
      /(?<![\w$.])exec(?:Sync)?\s*\(|\b(?:child_process|childProcess|cp)\.exec(?:Sync)?\s*\(|\bshell\s*:\s*true\b/,
    when: /child_process/,
    message: 'Starts a shell; an argument with a metacharacter becomes a command. Use execFile with a list.',
  },
  {
    rule: 'tls-verification-disabled',
    severity: 'error',
    look: 'text',
    pattern: /\brejectUnauthorized['"]?\s*:\s*false\b|\bstrictSSL['"]?\s*:\s*false\b/,
    message: 'Accepts any certificate, so anyone on the way can read and change the traffic.',
  },
  {
    rule: 'tls-verification-disabled',
    severity: 'error',
    look: 'raw',
    pattern: /NODE_TLS_REJECT_UNAUTHORIZED['"\]]*\s*[:=]\s*['"]?0/,
    message: 'Switches certificate checks off for the whole process.',
  },
  {
    rule: 'debugger-left',
    severity: 'error',
    look: 'code',
    pattern: /(?<![\w$.])debugger\s*(?:;|$)/,
    message: 'A debugger statement was left behind.',
  },
  {
    rule: 'focused-test',
    severity: 'error',
    look: 'code',
    pattern: /(?<![\w$.])(?:describe|it|test|suite)\.only\s*[(.]|(?<![\w$.])f(?:describe|it)\s*\(/,
    message: 'Only this test would run; the others would be skipped without a word.',
  },
  {
    rule: 'skipped-test',
    severity: 'info',
    look: 'code',
    pattern: /(?<![\w$.])(?:describe|it|test|suite)\.skip\s*[(.]|(?<![\w$.])x(?:describe|it|test)\s*\(/,
    message: 'This test no longer runs.',
  },
  {
    rule: 'unsafe-html',
    severity: 'warning',
    look: 'code',
    pattern: /\.(?:inner|outer)HTML\s*\+?=(?!=)|\bdangerouslySetInnerHTML\b|\bdocument\.write(?:ln)?\s*\(/,
    message: 'Puts text into a page as markup; text from outside could carry a script.',
  },
  {
    rule: 'weak-hash',
    severity: 'warning',
    look: 'text',
    pattern: /\bcreateHash\s*\(\s*['"`](?:md5|sha1)['"`]/i,
    message: 'MD5 and SHA-1 no longer withstand forgery; use sha256 where safety hangs on it.',
  },
  {
    rule: 'hard-coded-credential',
    severity: 'error',
    look: 'raw',
    pattern:
      /\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bxox[abprs]-[A-Za-z0-9-]{10}|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/,
    message:
      'Looks like a real key. Anyone who can read the repository has it: revoke it and read it from the environment.',
  },
];

const assigned =
  /\b([\w$-]{0,40}(?:password|passwd|secret|api_?-?key|access_?-?token|auth_?-?token|private_?-?key)[\w$-]{0,40})["']?(?:\s*:\s*string)?\s*[:=]\s*(["'`])((?:(?!\2).){6,})\2/i;
const placeholder = /\s|^<.*>$|\$\{|\{\{|^(?:x+|\*+|\.+)$|change.?me|placeholder|^your|^process\.env|^env:|^redacted$/i;
const inUrl = /\b[a-z][a-z0-9+.-]{0,20}:\/\/[^\s:/@"'`<>]{1,100}:([^\s/@"'`]{3,200})@([^\s/:"'`]{1,200})/i;
/** Tests, fixtures and examples: what is a fault elsewhere may be their purpose. */
export const testFile = /(?:^|\/)(?:tests?|__tests__|fixtures?|examples?)\/|\.(?:test|spec)\.[^/]+$/i;
const scriptFile = /\.(?:[cm]?[jt]s|[jt]sx)$/i;

/** What the rules say about the added lines of a file, given all of its new text. Credentials are never repeated. */
export function riskFindings(file: string, source: string, added: readonly AddedLine[]): Finding[] {
  const masked = scriptFile.test(file) ? maskSource(source) : null;
  const views = {
    code: masked?.code.split('\n') ?? null,
    text: masked?.withoutComments.split('\n') ?? null,
  };
  const applying = rules.filter((rule) => rule.when?.test(source) ?? true);
  return added.flatMap(({ line, text }) => {
    const found = applying
      .filter((rule) => rule.pattern.test(rule.look === 'raw' ? text : (views[rule.look]?.[line - 1] ?? '')))
      .map(({ rule, severity, message }) => ({ file, line, rule, severity, message }));
    return [...found, ...credentialFindings(file, line, views.text?.[line - 1] ?? text)];
  });
}

function credentialFindings(file: string, line: number, text: string): Finding[] {
  const named = assigned.exec(text.slice(0, 2_000));
  if (named !== null && !placeholder.test(named[3]!)) {
    return [credential(file, line, `"${named[1]}" is given its value here.`)];
  }
  const url = inUrl.exec(text.slice(0, 2_000));
  const local = url !== null && /^(?:localhost|127\.|\[?::1|example\.)/.test(url[2]!);
  if (url === null || local || placeholder.test(url[1]!)) return [];
  return [credential(file, line, 'An address carries a user name and password.')];
}

function credential(file: string, line: number, what: string): Finding {
  const message = `${what} Anyone who can read the repository has it; read it from the environment instead.`;
  // Tests are full of made-up passwords: worth a look, not a refusal.
  const severity = testFile.test(file) ? 'warning' : 'error';
  return { file, line, rule: 'hard-coded-credential', severity, message };
}
