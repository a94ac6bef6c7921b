// Taking secrets out of what leaves the process as telemetry: credentials in URLs, and values under telling names.
// Errs on the side of hiding too much: a log line that lost a word is a smaller harm than a leaked password.

export const REDACTED = '[redacted]';

const SECRET_NAME = /passw(or)?d|passphrase|token|secret|authorization|api[-_]?key|cookie|credential/i;
// user:password@ with anything up to the last '@' (passwords hold '/' and '@' too), and a bare user@.
const URL_CREDENTIALS = /([a-z][a-z0-9+.-]{0,30}:\/\/)(?:[^\s/?#@:"']*:[^\s"']*@|[^\s/?#"']*@)/gi;
const ASSIGNMENT =
  /((?:passw(?:or)?d|passphrase|token|secret|authorization|api[-_]?key|cookie)["']?\s*[=:]\s*)(?:(?:bearer|basic)\s+)?(?:"[^"]*"|'[^']*'|[^\s"',;&)}\]]+)/gi;
const BEARER = /\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}/gi;

/** The text without credentials in URLs, `name=value` secrets and bearer tokens. */
export function redactText(text: string): string {
  let out = text;
  if (out.includes('://')) out = out.replace(URL_CREDENTIALS, `$1${REDACTED}@`);
  if (SECRET_NAME.test(out)) out = out.replace(ASSIGNMENT, `$1${REDACTED}`);
  return out.replace(BEARER, `$1 ${REDACTED}`);
}

/** A copy of any JSON-like value, redacted to any depth: what stands under a secret's name goes whole. */
export function redact(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(redact);
  const out: Record<string, unknown> = {};
  for (const [name, inner] of Object.entries(value)) out[name] = SECRET_NAME.test(name) ? REDACTED : redact(inner);
  return out;
}
