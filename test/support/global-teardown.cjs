// Ends what global-setup.cjs started. If jest is killed before it comes here, the guard of the services does the same.
module.exports = async function globalTeardown() {
  await globalThis.musterTestServices?.stop();
};
