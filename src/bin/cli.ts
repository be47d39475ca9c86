#!/usr/bin/env node
import { modernNode } from './modern-node.ts';

// Nothing that needs a newer Node is loaded before the check.
const elsewhere = await modernNode();
if (elsewhere !== undefined) {
  process.exitCode = elsewhere;
} else {
  const { main } = await import('./main.ts');
  process.exitCode = await main(process.argv.slice(2));
}
