/** The text of the demo repository: a small orchard shop, a change with faults a review must find,
 *  and the edits feature-dev applies on top. Data only; `demo-repository.ts` writes and commits it. */
import type { Edit } from './edits.js';

const packageJson = `${JSON.stringify(
  {
    name: 'orchard',
    version: '1.0.0',
    private: true,
    description: 'A tiny shop that sells fruit by weight.',
    scripts: { test: 'node --test', build: 'node site/build.js' },
  },
  null,
  2,
)}\n`;

const basket = `'use strict';
/** The basket: what a customer picked, and what it costs. */

/**
 * Grams in one kilogram.
 */
const GRAMS_PER_KILOGRAM = 1000;

/**
 * The price of one line of the basket.
 *
 * @param {number} grams weight of the fruit
 * @param {number} centsPerKilogram price of a kilogram, in cents
 * @returns {number} price in whole cents, rounded half up
 * @throws {RangeError} when the weight is negative
 */
function linePrice(grams, centsPerKilogram) {
  if (grams < 0) throw new RangeError('A weight cannot be negative.');
  return Math.round((grams * centsPerKilogram) / GRAMS_PER_KILOGRAM);
}

/**
 * Everything a customer picked.
 */
class Basket {
  #lines = [];

  /**
   * Puts fruit into the basket.
   * @param {string} fruit what it is
   * @param {number} grams how much of it
   * @param {number} centsPerKilogram its price
   */
  add(fruit, grams, centsPerKilogram) {
    this.#lines.push({ fruit, cents: linePrice(grams, centsPerKilogram) });
  }

  /** The sum of all lines, in cents. */
  total() {
    return this.#lines.reduce((sum, line) => sum + line.cents, 0);
  }
}

module.exports = { GRAMS_PER_KILOGRAM, linePrice, Basket };
`;

const basketTest = `'use strict';
const { test } = require('node:test');
const assert = require('node:assert');
const { Basket, linePrice } = require('../src/basket.js');

test('a line costs weight times price', () => {
  assert.strictEqual(linePrice(1500, 299), 449);
});

test('a negative weight is refused', () => {
  assert.throws(() => linePrice(-1, 299), RangeError);
});

test('a basket adds up its lines', () => {
  const basket = new Basket();
  basket.add('apples', 1000, 250);
  basket.add('pears', 500, 300);
  assert.strictEqual(basket.total(), 400);
});
`;

const siteBuild = `'use strict';
// Fills the template with the fruit of the day and writes the result to dist/.
const { mkdirSync, readFileSync, writeFileSync, copyFileSync } = require('node:fs');
const { join } = require('node:path');

const fruit = JSON.parse(readFileSync(join(__dirname, 'fruit.json'), 'utf8'));
const rows = fruit.map(({ name, cents }) => \`<li>\${name}: \${(cents / 100).toFixed(2)} per kg</li>\`).join('\\n    ');
const page = readFileSync(join(__dirname, 'template.html'), 'utf8').replace('<!-- fruit -->', () => rows);

const target = join(__dirname, '..', 'dist');
mkdirSync(target, { recursive: true });
writeFileSync(join(target, 'index.html'), page);
copyFileSync(join(__dirname, 'style.css'), join(target, 'style.css'));
console.log(\`Built \${fruit.length} kinds of fruit.\`);
`;

const siteTemplate = `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Orchard</title>
  <link rel="stylesheet" href="style.css">
</head>
<body>
  <h1>Orchard</h1>
  <ul>
    <!-- fruit -->
  </ul>
</body>
</html>
`;

const readme = `# Orchard

A tiny shop that sells fruit by weight. \`npm test\` runs its tests, \`npm run build\` writes the site to \`dist/\`.
`;

/** The first commit, on \`main\`: everything is in order. */
export const mainFiles: Readonly<Record<string, string>> = {
  'package.json': packageJson,
  'README.md': readme,
  'CHANGELOG.md': '# Changelog\n\n## 1.0.0\n\n- Baskets with lines and a total.\n',
  '.gitignore': 'dist/\nnode_modules/\n',
  'src/basket.js': basket,
  'test/basket.test.js': basketTest,
  'site/build.js': siteBuild,
  'site/template.html': siteTemplate,
  'site/style.css': 'body {\n  font-family: sans-serif;\n  margin: 3rem auto;\n  max-width: 40rem;\n}\n',
  'site/fruit.json': '[\n  { "name": "Apples", "cents": 250 },\n  { "name": "Pears", "cents": 300 }\n]\n',
};

const tiers = Array.from(
  { length: 34 },
  (_, step) => `  if (kilograms >= ${(34 - step) * 5}) {\n    return ${34 - step};\n  }`,
);

const discounts = `'use strict';
/** Discounts: what a large order saves. */

const partnerApiKey = 'orchard-demo-key-not-a-real-one';

/**
 * The discount a weight earns.
 *
 * @param {number} kilograms weight of the whole order
 * @returns {number} percent, 0 to 34
 */
function discountFor(kilograms) {
${tiers.join('\n')}
  return 0;
}

/**
 * Applies a rule written by the marketing team, such as "cents * 0.9".
 * @param {string} rule an expression over \`cents\`
 * @param {number} cents price before the rule
 */
function applyRule(rule, cents) {${'  '}
  return eval(rule.replaceAll('cents', String(cents)));
}

module.exports = { discountFor, applyRule, partnerApiKey };
`;

const discountsTest = `'use strict';
const { test } = require('node:test');
const assert = require('node:assert');
const { applyRule, discountFor } = require('../src/discounts.js');

test('a small order earns no discount', () => {
  assert.strictEqual(discountFor(4), 0);
});

test('a large order earns one percent per five kilograms', () => {
  assert.strictEqual(discountFor(50), 10);
});

test('a rule changes the price', () => {
  assert.strictEqual(applyRule('cents * 0.5', 200), 100);
});
`;

/** The second commit, on \`change\`: works, but a reviewer should object. */
export const changeFiles: Readonly<Record<string, string>> = {
  'src/discounts.js': discounts,
  'test/discounts.test.js': discountsTest,
  'CHANGELOG.md':
    '# Changelog\n\n## 1.1.0\n\n- Discounts for large orders.\n\n## 1.0.0\n\n- Baskets with lines and a total.\n',
};

/** What feature-dev adds to \`change\`: a function, its test, and a line in the changelog. */
export const demoEdits: readonly Edit[] = [
  {
    file: 'src/basket.js',
    find: 'module.exports = { GRAMS_PER_KILOGRAM, linePrice, Basket };',
    replace: `/**
 * A price as people read it.
 *
 * @param {number} cents price in whole cents
 * @returns {string} such as "4.49"
 */
function formatPrice(cents) {
  return (cents / 100).toFixed(2);
}

module.exports = { GRAMS_PER_KILOGRAM, linePrice, formatPrice, Basket };`,
  },
  {
    file: 'test/basket.test.js',
    append: `
test('a price is shown with two digits', () => {
  assert.strictEqual(require('../src/basket.js').formatPrice(450), '4.50');
});
`,
  },
  {
    file: 'CHANGELOG.md',
    find: '- Discounts for large orders.\n',
    replace: '- Discounts for large orders.\n- Prices can be formatted for people.\n',
  },
];
