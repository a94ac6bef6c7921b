// The short form of a parameter schema, {"repo_url": "str", "pr_number": "int", "draft": "bool?"}, and the JSON Schema it stands for.
// Used once, when an agent joins: the record of an agent always holds a JSON Schema.

/** A trailing '?' makes a parameter optional. */
const TYPES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  str: { type: 'string' },
  int: { type: 'integer' },
  float: { type: 'number' },
  number: { type: 'number' },
  bool: { type: 'boolean' },
  list: { type: 'array' },
  dict: { type: 'object' },
  any: {},
};
export const SHORT_TYPES: readonly string[] = Object.keys(TYPES);

const SCHEMA_TYPES: ReadonlySet<unknown> = new Set([
  'object',
  'array',
  'string',
  'number',
  'integer',
  'boolean',
  'null',
]);
const AMBIGUOUS: ReadonlySet<string> = new Set(['type', 'title', 'description']);
const OBJECT_KEYWORDS: ReadonlySet<string> = new Set([
  'properties',
  'patternProperties',
  'additionalProperties',
  '$defs',
  'not',
  'if',
]);
const LIST_KEYWORDS: ReadonlySet<string> = new Set(['type', 'required', 'enum', 'anyOf', 'oneOf', 'allOf']);

export type JsonSchema = Readonly<Record<string, unknown>>;
export type SchemaAnswer =
  | { readonly ok: true; readonly schema: Record<string, unknown> }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Turns the short form into a JSON Schema; a JSON Schema stays as it is. `where` begins the name of a field that is wrong. */
export function parametersSchema(parameters: JsonSchema, where: string): SchemaAnswer {
  if (isJsonSchema(parameters)) return { ok: true, schema: parameters };
  const properties: [string, JsonSchema][] = [];
  const required: string[] = [];
  const problems: string[] = [];
  for (const [field, type] of Object.entries(parameters)) {
    const short = shortType(type);
    if (short === undefined) {
      problems.push(
        `${where}.${field}: ${show(type)} is not a type; use one of ${SHORT_TYPES.join(', ')}, with '?' if optional`,
      );
      continue;
    }
    properties.push([field, short.schema]);
    if (!short.optional) required.push(field);
  }
  if (problems.length > 0) return { ok: false, problems };
  const schema = { type: 'object', properties: Object.fromEntries(properties) };
  return { ok: true, schema: required.length === 0 ? schema : { ...schema, required } };
}

/**
 * Empty, or a keyword of JSON Schema with the kind of value it has there. "type", "title" and "description" are also likely names
 * of parameters, so they decide only where no other field has a short type: {"type": "object"} is a JSON Schema, and in
 * {"repo_url": "str", "type": "object"} the second is a mistake.
 */
function isJsonSchema(parameters: JsonSchema): boolean {
  const fields = Object.entries(parameters);
  if (fields.length === 0 || fields.some(([field, value]) => isKeyword(field, value))) return true;
  if (fields.some(([field, value]) => !AMBIGUOUS.has(field) && shortType(value) !== undefined)) return false;
  return fields.some(([field, value]) =>
    field === 'type'
      ? SCHEMA_TYPES.has(value)
      : AMBIGUOUS.has(field) && isText(value) && shortType(value) === undefined,
  );
}

function isKeyword(field: string, value: unknown): boolean {
  if (isText(value)) return field.startsWith('$') && shortType(value) === undefined;
  if (OBJECT_KEYWORDS.has(field) && isObject(value)) return true;
  if (LIST_KEYWORDS.has(field) && Array.isArray(value)) return true;
  return field === 'additionalProperties' && typeof value === 'boolean';
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function shortType(value: unknown): { schema: JsonSchema; optional: boolean } | undefined {
  if (typeof value !== 'string') return undefined;
  const optional = value.endsWith('?');
  const name = optional ? value.slice(0, -1) : value;
  return Object.hasOwn(TYPES, name) ? { schema: { ...TYPES[name] }, optional } : undefined;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
