// The short form of parameters means what people think it means, and a JSON Schema is left alone.
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { parametersSchema, SHORT_TYPES } from '../../src/contracts/short-schema.js';

const values: Record<string, fc.Arbitrary<unknown>> = {
  str: fc.string(),
  int: fc.integer(),
  float: fc.double({ noNaN: true, noDefaultInfinity: true }),
  number: fc.double({ noNaN: true, noDefaultInfinity: true }),
  bool: fc.boolean(),
  list: fc.array(fc.jsonValue()),
  dict: fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }),
  any: fc.jsonValue(),
};
/** A value that is not of the type, for every type but 'any'. */
const wrong: Record<string, unknown> = { str: 1, int: 1.5, float: 'x', number: 'x', bool: 'true', list: {}, dict: [] };

// ajv itself trips over a field of this name.
const fieldName = fc.string({ minLength: 1, maxLength: 12 }).filter((name) => name !== '__proto__');
const shortForm = fc.dictionary(fieldName, fc.tuple(fc.constantFrom(...SHORT_TYPES), fc.boolean()), {
  minKeys: 1,
  maxKeys: 6,
  noNullPrototype: true,
});
const asText = (form: Record<string, [string, boolean]>) =>
  Object.fromEntries(Object.entries(form).map(([field, [type, optional]]) => [field, optional ? `${type}?` : type]));

function schemaOf(parameters: Record<string, unknown>): Record<string, unknown> {
  const answer = parametersSchema(parameters, 'parameters');
  if (!answer.ok) throw new Error(answer.problems.join('; '));
  return answer.schema;
}
const validator = (schema: object) => new Ajv2020({ strict: false, ownProperties: true }).compile(schema);

describe('the short form', () => {
  it('turns the example of the requirements into a JSON Schema', () => {
    expect(schemaOf({ repo_url: 'str', pr_number: 'int', draft: 'bool?' })).toEqual({
      type: 'object',
      properties: { repo_url: { type: 'string' }, pr_number: { type: 'integer' }, draft: { type: 'boolean' } },
      required: ['repo_url', 'pr_number'],
    });
  });

  it('accepts what has every required field with a value of its type', () => {
    const withValues = shortForm.chain((form) =>
      fc.tuple(
        fc.constant(form),
        fc.record(Object.fromEntries(Object.entries(form).map(([field, [type]]) => [field, values[type]!]))),
        fc.boolean(),
      ),
    );
    fc.assert(
      fc.property(withValues, ([form, input, sparse]) => {
        const given = Object.fromEntries(Object.entries(input).filter(([field]) => !(sparse && form[field]![1])));
        expect(validator(schemaOf(asText(form)))(given)).toBe(true);
      }),
    );
  });

  it('refuses what lacks a required field, or has a value of another type', () => {
    fc.assert(
      fc.property(shortForm, (form) => {
        const valid = validator(schemaOf(asText(form)));
        const good = Object.fromEntries(
          Object.entries(form).map(([field, [type]]) => [field, fc.sample(values[type]!, { numRuns: 1, seed: 7 })[0]]),
        );
        for (const [field, [type, optional]] of Object.entries(form)) {
          const { [field]: _, ...without } = good;
          expect(valid(without)).toBe(optional);
          if (type !== 'any') expect(valid({ ...good, [field]: wrong[type] })).toBe(false);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('names every field that is wrong', () => {
    expect(
      parametersSchema({ a: 'strr', b: 'int', c: 3, type: 'object', d: 'int??' }, 'capabilities[2].parameters'),
    ).toEqual({
      ok: false,
      problems: ['a: "strr"', 'c: 3', 'type: "object"', 'd: "int??"'].map((start) =>
        expect.stringContaining(`capabilities[2].parameters.${start}`),
      ),
    });
  });

  it.each([
    [{ type: 'str' }],
    [{ title: 'str', description: 'str?' }],
    [{ required: 'bool', properties: 'dict', enum: 'list', $ref: 'str' }],
  ])('takes %j for parameters that are only named like keywords', (form) => {
    expect(schemaOf(form)).toMatchObject({ type: 'object', properties: expect.any(Object) });
  });
});

describe('a JSON Schema', () => {
  it.each([
    [{}],
    [{ type: 'object' }],
    [{ type: 'number' }],
    [{ type: ['object', 'null'] }],
    [{ type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false }],
    [{ $ref: '#/$defs/a', $defs: { a: { type: 'string' } } }],
    [{ anyOf: [{ type: 'string' }, { type: 'number' }] }],
    [{ description: 'Whatever you like' }],
    [{ title: 'any', properties: {} }],
    [{ additionalProperties: false }],
  ])('stays as it is: %j', (schema) => {
    expect(schemaOf(schema)).toBe(schema);
  });

  it('is what the short form becomes: turning it twice is turning it once', () => {
    fc.assert(
      fc.property(shortForm, (form) => {
        const once = schemaOf(asText(form));
        expect(schemaOf(once)).toBe(once);
      }),
    );
  });
});
