import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandDeps } from './command-deps.ts';
import { EXIT } from './exit-codes.ts';
import { follow } from './follow.ts';
import { bytes, styled } from './terminal.ts';

export function demoCommand(deps: CommandDeps): Command {
  return new Command('demo')
    .summary('watch the real claude program do a small task; no account, no network')
    .description(
      'A scripted model on this machine plays the model; the claude program, its tools and the files are real.',
    )
    .action(async () => {
      const { terminal } = deps;
      const { stderr } = terminal;
      stderr.write(`${styled(terminal, 'bold', 'CC Executor demo')}\n`);
      stderr.write(
        'The model is scripted: it runs on this machine, needs no account and no network, and costs nothing (the\n',
      );
      stderr.write(
        'dollars shown are what the same tokens would cost). The claude program, its tools and the files are real.\n\n',
      );
      const demo = await deps.openDemo();
      try {
        let id = '';
        const start = async () => {
          const execution = await demo.client.execute(demo.request);
          id = execution.id;
          return execution;
        };
        const code = await follow(deps, demo.client, { start });
        const folder = demo.workspaceOf(id);
        const files = code === EXIT.succeeded ? await filesIn(folder) : [];
        stderr.write(`\n${styled(terminal, 'bold', 'files made')} in ${folder}\n`);
        for (const { name, size } of files) stderr.write(`  ${name}  ${bytes(size)}\n`);
        stderr.write(
          `${styled(terminal, 'bold', 'log')}        ${deps.dataDirectory()}/store.sqlite; read it with: ${deps.invocation} watch ${id}\n`,
        );
        stderr.write(`\nThe same with your own credential, in the current directory:\n`);
        stderr.write(
          `  ANTHROPIC_API_KEY=sk-ant-… ${deps.invocation} run "Write a program that greets me, run it, and tell me what it said." --allow Write,Bash\n`,
        );
        deps.exit(code === EXIT.succeeded && files.length === 0 ? EXIT.failed : code);
      } finally {
        await demo.close();
      }
    });
}

async function filesIn(folder: string): Promise<{ name: string; size: number }[]> {
  const names = await readdir(folder);
  return Promise.all(names.map(async (name) => ({ name, size: (await stat(join(folder, name))).size })));
}
