// The suite's own client, with a fetch() that speaks to a proxy: usage
//   node client.mjs SUITE BASE PROXY [ID...]
// SUITE is the unpacked package, BASE the origin as clients name it (http://127.0.0.1:8000), PROXY the
// HOST:PORT that is connected to.  Where they differ, requests are in absolute form, as to a
// forward proxy.  With IDs only these tests run, few at a time.  Prints JSON: tests and results.
//
// fetch() follows node-fetch 2, which the suite's command line uses, in what the suite relies on:
// one connection a request, field lines as given, fields of the answer joined with ", ", a body as
// text and never decoded.  Redirects are never followed: the suite asks for none.
import http from 'http'
import path from 'path'
import { pathToFileURL } from 'url'

const [suite, base, proxy, ...ids] = process.argv.slice(2)
const [host, port] = proxy.split(':')
const forward = new URL(base).host !== proxy
const patience = 20000 // ms without a byte

const load = file => import(pathToFileURL(path.resolve(suite, file)))
const { runTests, getResults } = await load('client/runner.mjs')
const { default: tests } = await load('tests/index.mjs')
const { default: surrogate } = await load('tests/surrogate-control.mjs')

class Headers extends Map {
  constructor (raw) {
    super()
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i].toLowerCase()
      super.set(name, super.has(name) ? `${super.get(name)}, ${raw[i + 1]}` : raw[i + 1])
    }
  }

  get (name) { return super.get(name.toLowerCase()) ?? null }
  has (name) { return super.has(name.toLowerCase()) }
}

function requestHeaders (init) {
  const fields = new Map([['accept', ['Accept', '*/*']], ['connection', ['Connection', 'close']]])
  const given = new Set()
  for (const [name, value] of init.headers ?? []) {
    const key = name.toLowerCase()
    if (given.has(key)) fields.get(key).push(String(value))
    else fields.set(key, [name, String(value)])
    given.add(key)
  }
  if (init.body !== undefined) {
    fields.set('content-length', ['Content-Length', String(Buffer.byteLength(init.body))])
  }
  return Object.fromEntries([...fields.values()].map(([name, ...values]) => [name, values]))
}

function fetch (url, init = {}) {
  const target = new URL(url)
  const options = {
    host,
    port,
    agent: false,
    method: init.method ?? 'GET',
    path: forward ? target.href : target.pathname + target.search,
    headers: { Host: target.host, ...requestHeaders(init) }
  }
  return new Promise((resolve, reject) => {
    const request = http.request(options, answer => {
      const chunks = []
      const text = new Promise((resolve, reject) => {
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('end', () => resolve(Buffer.concat(chunks).toString()))
        answer.on('error', reject)
      })
      text.catch(() => {}) // whoever asks for it sees it
      resolve({
        status: answer.statusCode,
        statusText: answer.statusMessage,
        headers: new Headers(answer.rawHeaders),
        text: () => text
      })
    })
    request.setTimeout(patience, () => request.destroy(new Error(`${patience / 1000} s without a byte`)))
    request.on('error', reject)
    request.end(init.body)
  })
}

const described = [...tests, surrogate].flatMap(group => group.tests
  .filter(test => !test.browser_only)
  .map(test => ({
    id: test.id,
    name: test.name,
    group: group.id,
    kind: test.kind ?? 'required',
    depends: test.depends_on ?? []
  })))
const chosen = [...tests, surrogate].map(group => ({
  ...group, tests: group.tests.filter(test => ids.length === 0 || ids.includes(test.id))
}))
await runTests(chosen, fetch, false, base, ids.length === 0 ? 100 : 20)
process.stdout.write(JSON.stringify({ tests: described, results: getResults() }))
