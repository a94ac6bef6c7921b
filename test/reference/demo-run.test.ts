/** The demo: a repository made from nothing, and the whole run over it, agent by agent, without a broker. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runTests, runTestsInput } from '../../src/reference/cicd.js';
import { codeReview, codeReviewInput } from '../../src/reference/code-review.js';
import { makeDemoRepository } from '../../src/reference/demo-repository.js';
import { writeDocs, writeDocsInput } from '../../src/reference/documentation.js';
import { applyChange, applyChangeInput } from '../../src/reference/feature-dev.js';
import { deploySite, deploySiteInput, stopDeployments } from '../../src/reference/infrastructure.js';
import { git } from '../../src/reference/repository.js';
import { type DemoRunOptions, demoRun } from '../../src/reference/workflow.js';
import { aContext, aDirectory, aRepository, failure, never, withEnvironment } from './support.js';

afterEach(stopDeployments);

/** Runs the tasks in order, giving each the results of those it waits for, as JSON, as the bus would. */
async function perform(options: DemoRunOptions): Promise<Record<string, Record<string, unknown>>> {
  const results: Record<string, Record<string, unknown>> = {};
  for (const task of demoRun(options).tasks) {
    const context = await aContext(Object.fromEntries(task.after.map((key) => [key, results[key]])));
    const input = task.parameters;
    const output = await {
      'apply-change': () => applyChange(applyChangeInput.parse(input), context),
      'code-review': () => codeReview(codeReviewInput.parse(input), context),
      'run-tests': () => runTests(runTestsInput.parse(input), context),
      'write-docs': () => writeDocs(writeDocsInput.parse(input), context),
      'deploy-site': () => deploySite(deploySiteInput.parse(input), context),
    }[task.capability]();
    expect(context.fractions).toEqual([...context.fractions].sort());
    expect(context.fractions.at(-1)).toBe(1);
    results[task.key] = JSON.parse(JSON.stringify(output));
  }
  return results;
}

it('makes the same repository every time, whatever git settings the user has', async () => {
  const make = async () => makeDemoRepository(join(await aDirectory(), 'demo'));
  const first = await make();
  const none = { HOME: await aDirectory(), GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
  await withEnvironment(none, async () => {
    expect((await make()).commits).toEqual(first.commits);
  });
  const strange = join(await aDirectory(), 'gitconfig');
  const settings = { gpgSign: 'commit', autocrlf: 'core', defaultBranch: 'init', useConfigOnly: 'user' };
  for (const [name, section] of Object.entries(settings)) {
    await git(first.repo, ['config', '--file', strange, `${section}.${name}`, 'true'], never);
  }
  await withEnvironment({ GIT_CONFIG_GLOBAL: strange }, async () => {
    expect((await make()).commits).toEqual(first.commits);
  });
  await expect(makeDemoRepository(first.repo)).rejects.toEqual(failure('DIRECTORY_NOT_EMPTY'));
});

it('fans out after the change and joins before the deployment', () => {
  const run = demoRun({ repo: '/some/orchard', base: 'main', head: 'change', push: true });
  expect(run.labels).toEqual({ workflow: 'demo', repository: 'orchard' });
  expect(run.tasks.map((task) => [task.key, task.capability, task.after])).toEqual([
    ['change', 'apply-change', []],
    ['review', 'code-review', ['change']],
    ['tests', 'run-tests', ['change']],
    ['docs', 'write-docs', ['change']],
    ['deploy', 'deploy-site', ['review', 'tests', 'docs']],
  ]);
});

it.each([true, false])('does the whole demo run (push: %s)', async (push) => {
  const demo = await makeDemoRepository(join(await aDirectory(), 'demo'));
  const outputDirectory = await aDirectory();
  const { repo, base, head, edits, message } = demo;
  const results = await perform({ repo, base, head, edits, message, push, outputDirectory });
  const commit = results.change?.commit;
  expect(Object.values(results).map((result) => result.commit)).toEqual([commit, commit, commit, commit, commit]);
  expect(results.review).toMatchObject({ verdict: 'request_changes', base: demo.commits.base });
  expect(results.tests).toMatchObject({ status: 'passed', tests: { total: 7, passed: 7 } });
  expect(results.docs).toMatchObject({ counts: { exported: 7 } });
  expect(results.deploy).toMatchObject({ served: 'dist', notes: [expect.stringContaining('request changes')] });
  const docs = await fetch(`${results.deploy?.docsUrl}api/src/basket.js.html`);
  expect([docs.status, await docs.text()]).toEqual([200, expect.stringContaining('formatPrice')]);
  expect((await readdir(outputDirectory)).sort()).toEqual([
    'apply-change',
    'code-review',
    'deploy-site',
    'run-tests',
    'write-docs',
  ]);
  const branches = await git(repo, ['branch', '--list', 'muster/*'], never);
  expect(branches.trim() === '').toBe(!push);
});

it('fits a repository that is not the demo', async () => {
  const repo = await aRepository({ 'index.js': '/** One. */\nexports.one = 1;\n' });
  const results = await perform({ repo, base: 'main', head: 'main', push: false });
  expect(results.change).toMatchObject({ diffstat: { files: [{ file: 'CHANGELOG.md', added: 1, deleted: 0 }] } });
  expect(results.review).toMatchObject({ verdict: 'approve' });
  expect(results.tests).toMatchObject({ status: 'not_run' });
  expect(results.deploy).toMatchObject({ served: 'generated documentation' });
});
