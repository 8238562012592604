import { newDataKey, Vault } from '../../manager/vault/seal.ts';

/** With a key of this process: what it sealed, nothing else opens. */
export const testVault = new Vault(newDataKey());
