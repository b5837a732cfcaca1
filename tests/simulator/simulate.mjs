// Decides requests with @cloud-copilot/iam-simulate. Each line of the input is a JSON array of simulations, and each line
// of the output the JSON array of their results.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

// The packages are installed in the working directory, not beside this file.
const { runSimulation } = createRequire(`${process.cwd()}/`)('@cloud-copilot/iam-simulate')

for await (const line of createInterface({ input: process.stdin })) {
  const results = []
  for (const simulation of JSON.parse(line)) {
    results.push(await runSimulation(simulation, {}))
  }
  const answers = results.map((each) => ({
    decision: each.overallResult ?? null,
    ignored: each.result?.ignoredContextKeys ?? [],
    errors: each.errors ?? null
  }))
  process.stdout.write(`${JSON.stringify(answers)}\n`)
}
