/** The five reference agents: the handlers of this folder, offered to a fleet through the SDK.
 *  Whoever calls one imports its contract from here; `cli/reference-agent.ts` starts one in a process of its own. */
import { capability, type Offer } from '../agent/capability.js';
import { type AgentDefinition, agent } from '../agent/define.js';
import { runTests, runTestsInput, runTestsOutput } from './cicd.js';
import { codeReview, codeReviewInput, codeReviewOutput } from './code-review.js';
import { writeDocs, writeDocsInput, writeDocsOutput } from './documentation.js';
import { applyChange, applyChangeInput, applyChangeOutput } from './feature-dev.js';
import { deploySite, deploySiteInput, deploySiteOutput, stopDeployments } from './infrastructure.js';

export const applyChangeContract = capability('apply-change', {
  input: applyChangeInput,
  output: applyChangeOutput,
  description: 'Makes a scripted change on a new branch of a local git repository',
  costEstimate: '~1s compute',
  tags: ['git', 'write'],
});
export const codeReviewContract = capability('code-review', {
  input: codeReviewInput,
  output: codeReviewOutput,
  description: 'Reads what changed between two commits: types, syntax, whitespace, risky patterns, size',
  costEstimate: '~5s compute',
  tags: ['git', 'read'],
});
export const runTestsContract = capability('run-tests', {
  input: runTestsInput,
  output: runTestsOutput,
  description: 'Checks out one commit and runs its tests',
  costEstimate: '~60s compute',
  tags: ['git', 'execute'],
});
export const writeDocsContract = capability('write-docs', {
  input: writeDocsInput,
  output: writeDocsOutput,
  description: 'Writes API documentation from the source of one commit',
  costEstimate: '~2s compute',
  tags: ['git', 'read'],
});
export const deploySiteContract = capability('deploy-site', {
  input: deploySiteInput,
  output: deploySiteOutput,
  description: 'Builds the site of one commit, serves it on this machine and checks its health',
  costEstimate: '~5s compute',
  tags: ['git', 'execute', 'serve'],
});

export interface ReferenceAgent {
  readonly definition: AgentDefinition;
  /** Lets go of what its handlers leave running after their task, such as served sites. Call it once the agent has stopped. */
  cleanUp(): Promise<void>;
}

const none = async (): Promise<void> => undefined;

/** By agent id. */
export const referenceAgents: ReadonlyMap<string, ReferenceAgent> = new Map([
  one('feature-dev', 'Feature development', applyChangeContract.handle(applyChange)),
  one('code-review', 'Code review', codeReviewContract.handle(codeReview)),
  one('infrastructure', 'Infrastructure', deploySiteContract.handle(deploySite), stopDeployments),
  one('cicd', 'Continuous integration', runTestsContract.handle(runTests)),
  one('documentation', 'Documentation', writeDocsContract.handle(writeDocs)),
]);

function one(id: string, name: string, offer: Offer, cleanUp = none): [string, ReferenceAgent] {
  return [id, { definition: agent(id, offer, { name, tags: ['reference'] }), cleanUp }];
}

/** Which of the five offers a capability; undefined: none of them. */
export function agentOffering(capabilityName: string): string | undefined {
  for (const [id, { definition }] of referenceAgents)
    if (definition.offers.some((offer) => offer.name === capabilityName)) return id;
  return undefined;
}
