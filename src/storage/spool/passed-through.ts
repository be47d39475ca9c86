import type { Storage } from '../storage.ts';

/** The methods of a store, each to be called by itself. */
export function passedThrough(storage: Storage): Storage {
  return {
    createExecution: storage.createExecution.bind(storage),
    getExecution: storage.getExecution.bind(storage),
    readExecution: storage.readExecution.bind(storage),
    findByKey: storage.findByKey.bind(storage),
    listExecutions: storage.listExecutions.bind(storage),
    listUnfinished: storage.listUnfinished.bind(storage),
    append: storage.append.bind(storage),
    updateExecution: storage.updateExecution.bind(storage),
    takeOver: storage.takeOver.bind(storage),
    readEvents: storage.readEvents.bind(storage),
    deleteExecution: storage.deleteExecution.bind(storage),
    putSession: storage.putSession.bind(storage),
    getSession: storage.getSession.bind(storage),
    claim: storage.claim.bind(storage),
    releaseClaims: storage.releaseClaims.bind(storage),
    registerInstance: storage.registerInstance.bind(storage),
    instanceAlive: storage.instanceAlive.bind(storage),
    addFirstKey: storage.addFirstKey.bind(storage),
    replaceKeys: storage.replaceKeys.bind(storage),
    getKey: storage.getKey.bind(storage),
    appendAudit: storage.appendAudit.bind(storage),
    readAudit: storage.readAudit.bind(storage),
    takeBytes: storage.takeBytes.bind(storage),
    ...(storage.countWrongKey && { countWrongKey: storage.countWrongKey.bind(storage) }),
    applyRetention: storage.applyRetention.bind(storage),
    ...(storage.watch && { watch: storage.watch.bind(storage) }),
    probe: storage.probe.bind(storage),
    close: storage.close.bind(storage),
  };
}
