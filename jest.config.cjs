const swc = [
  '@swc/jest',
  {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  },
];

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  transform: { '^.+\\.[tj]s$': swc },
  // Sources import './x.js' as Node will see them after the build; jest reads the .ts beside it.
  moduleNameMapper: {
    '^muster$': '<rootDir>/src/index.ts',
    '^muster/testing$': '<rootDir>/src/testing/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  globalSetup: '<rootDir>/test/support/global-setup.cjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.cjs',
  // What `npm start` leaves there has packages of its own.
  modulePathIgnorePatterns: ['<rootDir>/.muster/'],
  testTimeout: 30000,
  maxWorkers: 2,
};
