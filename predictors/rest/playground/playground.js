// A form made from the model's own schema. Requests and replies are texts here, so that no number is rounded.
"use strict"

const NUMBERS = ["integer", "long", "float", "double"]
const SCALARS = [...NUMBERS, "boolean", "string", "datetime", "binary"]
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/
const PROTOCOLS = { v1: "V1", v2: "V2", invocations: "MLflow's own form" }
const MAX_FIELDS = 100

const at = (id) => document.getElementById(id)
let schema = {}

function made(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes)
  element.append(...children)
  return element
}

const token = () => at("token").value.trim()
const headers = () => (token() ? { authorization: `Bearer ${token()}` } : {})
const here = (path) => new URL(path.replace(/^\//, "../"), location.href).href

async function start() {
  try {
    const reply = await fetch(here("/schema"), { headers: headers() })
    if (reply.status === 401 || reply.status === 403) at("access").hidden = false
    if (!reply.ok) return say(`The schema cannot be read: ${reply.status} ${await reply.text()}`)
    schema = await reply.json()
  } catch (error) {
    return say(`The server does not answer: ${error.message}`)
  }
  document.title = `Ask ${schema.model_name} – mlflow-kserve`
  document.querySelector("h1").textContent = `Ask ${schema.model_name}`
  at("answers").replaceChildren()
  showForm()
}

// -- the form

const columns = () => {
  const inputs = schema.inputs
  const known = inputs.every((each) => each.name && SCALARS.includes(each.type))
  return schema.samples.v1 && known && inputs.length <= MAX_FIELDS ? inputs : []
}
const params = () => schema.params.filter((each) => each.shape === null && SCALARS.includes(each.type))

function showForm() {
  const row = schema.samples.v1?.body.instances?.[0] ?? {}
  const fields = columns().flatMap((each) => field(each, `column:${each.name}`, row[each.name], each.required))
  if (fields.length) {
    fields.push(...params().flatMap((each) => field(each, `param:${each.name}`, each.default, false)))
    const others = schema.methods.filter((each) => each !== "predict")
    if (others.length) {
      const options = ["predict", ...others].map((each) => made("option", { value: each === "predict" ? "" : each }, each))
      fields.push(made("label", { htmlFor: "method" }, "Method"), made("div", {}, made("select", { id: "method" }, ...options)))
    }
  }
  at("fields").replaceChildren(...fields)
  at("by-fields").hidden = !fields.length
  at("json").open = !fields.length
  const protocols = Object.keys(PROTOCOLS).filter((each) => schema.samples[each])
  if (!protocols.length) protocols.push("v1")
  at("protocol").replaceChildren(...protocols.map((each) => made("option", { value: each }, PROTOCOLS[each])))
  showSample()
  at("ask").hidden = false
}

function field(each, id, value, required) {
  const shown = value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value)
  const help = made("p", { className: "help", id: `${id}-help` }, each.type + (required ? "" : ", may be left empty"))
  let input
  if (each.type === "boolean") {
    const options = [["", "not sent"], ["true", "true"], ["false", "false"]]
    input = made("select", { id }, ...options.map(([key, word]) => made("option", { value: key }, word)))
    input.value = shown
  } else {
    input = made("input", { id, value: shown, autocomplete: "off", inputMode: NUMBERS.includes(each.type) ? "decimal" : "text" })
  }
  input.setAttribute("aria-describedby", help.id)
  return [made("label", { htmlFor: id }, each.name), made("div", {}, input, help)]
}

function sample() {
  return schema.samples[at("protocol").value] ?? { path: `/v1/models/${encodeURIComponent(schema.model_name)}:predict`, body: { instances: [] } }
}

function showSample() {
  at("path").textContent = sample().path
  at("body").value = JSON.stringify(sample().body, null, 2)
}

// -- the request

function literal(each, text) {
  if (each.type === "boolean") return text
  if (!NUMBERS.includes(each.type)) return JSON.stringify(text)
  if (!NUMBER.test(text.trim())) throw new Error(`${each.name}: ${JSON.stringify(text)} is no number, such as 3 or 0.5`)
  return text.trim()
}

// What was filled in, as the members of an object; what was left empty is not sent.
function members(fields, kind) {
  return fields.flatMap((each) => {
    const text = at(`${kind}:${each.name}`).value
    const sent = text !== "" || (each.required && each.type === "string")
    return sent ? [`${JSON.stringify(each.name)}: ${literal(each, text)}`] : []
  })
}

function bodyOfFields() {
  const parameters = members(params(), "param")
  if (at("method")?.value) parameters.push(`"method": ${JSON.stringify(at("method").value)}`)
  const said = parameters.length ? `, "parameters": {${parameters.join(", ")}}` : ""
  return `{"instances": [{${members(columns(), "column").join(", ")}}]${said}}`
}

async function ask(by) {
  let path, body
  try {
    [path, body] = by === "fields" ? [schema.samples.v1.path, bodyOfFields()] : [sample().path, at("body").value]
    JSON.parse(body)
  } catch (error) {
    return say(by === "fields" ? error.message : `The request is no JSON: ${error.message}`)
  }
  const url = here(path)
  const begun = performance.now()
  try {
    const reply = await fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers() }, body })
    const text = await reply.text()
    showAnswer(reply, text, performance.now() - begun, url, body)
  } catch (error) {
    say(`The server does not answer: ${error.message}`)
  }
}

// -- the answer

function showAnswer(reply, text, milliseconds, url, body) {
  at("answers").replaceChildren(
    made("h2", {}, "Answer"),
    made("p", { className: reply.ok ? "" : "problem" }, `${reply.status} in ${Math.round(milliseconds)} ms`),
    block(text, "Answer"),
    made("h2", {}, "The same with curl"),
    block(asCurl(url, body), "curl"),
    made("h2", {}, "In Python"),
    block(asPython(url, body), "Python"),
  )
}

function block(text, label) {
  const element = made("pre", { tabIndex: 0 }, text)
  element.setAttribute("role", "region")
  element.setAttribute("aria-label", label)
  return element
}

function say(problem) {
  const element = made("p", { className: "problem" }, problem)
  element.setAttribute("role", "alert")
  at("answers").replaceChildren(element)
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`

function asCurl(url, body) {
  const sent = token() ? ' \\\n  -H "authorization: Bearer $TOKEN"' : ""
  return `curl ${quoted(url)} -H 'content-type: application/json'${sent} \\\n  -d ${quoted(body)}`
}

function asPython(url, body) {
  const words = { true: "True", false: "False", null: "None" }
  const tokens = /"(?:[^"\\]|\\.)*"|true|false|null/g
  const payload = body.replace(tokens, (each) => words[each] ?? JSON.stringify(JSON.parse(each)))
  const sent = token() ? ', headers={"authorization": f"Bearer {token}"}' : ""
  const asked = `reply = requests.post(${JSON.stringify(url)}, json=payload${sent}, timeout=30)`
  return `import requests\n\npayload = ${payload}\n${asked}\nprint(reply.json())`
}

at("access").addEventListener("submit", (event) => { event.preventDefault(); start() })
at("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(event.submitter?.value ?? "fields") })
at("protocol").addEventListener("change", showSample)
start()
