/** The capability write-docs, and how its pages look in a browser. */
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDemoRepository } from '../../src/reference/demo-repository.js';
import { docsHtml } from '../../src/reference/docs-html.js';
import { writeDocs, writeDocsInput, writeDocsOutput } from '../../src/reference/documentation.js';
import { aCommit, aContext, aDirectory, aRepository, failure } from './support.js';

const write = async (input: object) => {
  const output = await writeDocs(writeDocsInput.parse(input), await aContext());
  expect(writeDocsOutput.parse(output)).toEqual(output);
  return output;
};

it('documents the demo repository', async () => {
  const demo = await makeDemoRepository(join(await aDirectory(), 'demo'));
  const outputDirectory = await aDirectory();
  const output = await write({ repo: demo.repo, head: 'main', outputDirectory });
  expect(output.directory).toBe(join(outputDirectory, 'write-docs'));
  expect(output.files.map((file) => [file.name, file.exported])).toEqual([
    ['README.md', 0],
    ['api/src/basket.js.md', 3],
  ]);
  expect(output.counts).toMatchObject({ sources: 2, exported: 3, documented: 3, skipped: 0 });
  const page = await readFile(output.files[1]!.path, 'utf8');
  expect(Buffer.byteLength(page)).toBe(output.files[1]!.bytes);
  expect(page).toContain('# `src/basket.js`\n\nThe basket: what a customer picked, and what it costs.');
  expect(page).toContain(`## \`linePrice\`

\`\`\`js
function linePrice(grams, centsPerKilogram)
\`\`\`

The price of one line of the basket.

**Parameters**

- \`grams\` (\`number\`): weight of the fruit
- \`centsPerKilogram\` (\`number\`): price of a kilogram, in cents

**Returns** (\`number\`): price in whole cents, rounded half up

**Throws**

- \`RangeError\` when the weight is negative`);
  expect(page).toContain('### `Basket.total`');
  expect(await readFile(output.files[0]!.path, 'utf8')).toContain('(api/src/basket.js.md)');
});

it('leaves out tests, builds, declarations and what is not asked for', async () => {
  const one = 'export const a = 1;\n';
  const names = [
    'src/a.ts',
    'src/deep/b.mjs',
    'lib/c.cjs',
    'src/a.test.ts',
    'test/d.js',
    'dist/e.js',
    'src/f.d.ts',
    'g.css',
  ];
  const repo = await aRepository(Object.fromEntries(names.map((name) => [name, one])));
  const pages = async (rest: object) =>
    (await write({ repo, head: 'main', ...rest })).files.slice(1).map((file) => file.name);
  expect(await pages({})).toEqual(['api/lib/c.cjs.md', 'api/src/a.ts.md', 'api/src/deep/b.mjs.md']);
  expect(await pages({ folders: ['src/deep/', './lib'] })).toEqual(['api/lib/c.cjs.md', 'api/src/deep/b.mjs.md']);
  expect((await write({ repo, head: 'main', maxFiles: 1 })).counts).toMatchObject({ sources: 1, skipped: 2 });
});

it('reads nothing outside the commit, whatever links and names it holds', async () => {
  const hostile = 'src/[x](http:evil)\n# `big`.js';
  const repo = await aRepository({ [hostile]: 'exports.a = 1;\n' });
  await symlink('/etc/passwd', join(repo, 'passwd.js'));
  await aCommit(repo, {});
  const output = await write({ repo, head: 'main' });
  expect(output.counts.sources).toBe(1);
  const index = await readFile(output.files[0]!.path, 'utf8');
  expect(index).not.toMatch(/^# `big/m);
  await expect(write({ repo, head: 'main', folders: ['../..'] })).rejects.toEqual(failure('UNSAFE_PATH'));
});

it('finds nothing in a repository without code, and says so', async () => {
  const output = await write({ repo: await aRepository({ 'README.md': 'x\n' }), head: 'main' });
  expect(await readFile(output.files[0]!.path, 'utf8')).toContain('Nothing is exported.');
});

describe('as HTML', () => {
  it('shows what the pages use', () => {
    const html = docsHtml(
      'A',
      '# `a.js`\n\nText with `code` and **bold**.\n\n- one\n- [b](api/b.js.md)\n\n```js\n<b> # x\n```\n',
    );
    expect(html).toContain('<h1><code>a.js</code></h1>');
    expect(html).toContain('<p>Text with <code>code</code> and <strong>bold</strong>.</p>');
    expect(html).toContain('<ul><li>one</li><li><a href="api/b.js.html">b</a></li></ul>');
    expect(html).toContain('<pre><code>&#60;b&#62; # x</code></pre>');
  });

  it('lets no markup and no foreign link through', () => {
    const html = docsHtml(
      '<t>',
      '<script>x</script> [a](javascript:alert(1)) [b](//evil/x.md) [c](https://evil/x.md) `<i>`\n',
    );
    expect(html).not.toMatch(/<script|<i>|<t>|href/);
  });
});
