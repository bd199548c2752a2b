// Tests run in UTC, so that what they say of times holds everywhere.
process.env.TZ = 'UTC';

module.exports = {
  testTimeout: 60_000,
  testEnvironment: 'jest-environment-jsdom',
  testMatch: ['<rootDir>/src/**/*.test.{ts,tsx}'],
  moduleNameMapper: { '\\.css$': '<rootDir>/jest-style.js' },
  setupFiles: ['<rootDir>/jest-setup.js'],
  transform: {
    '\\.m?[jt]sx?$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript', tsx: true }, transform: { react: { runtime: 'automatic' } } } },
    ],
  },
  // Half of what Grafana's libraries bring along is modules, which jest must translate; which half changes with every version.
  transformIgnorePatterns: [],
};
