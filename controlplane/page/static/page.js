// Tells the parts of a page that something has changed; each then asks for itself anew.
"use strict"

const place = document.body.dataset.live
if (place) {
  let soon // many things happen at once
  const stream = new EventSource(place)
  stream.addEventListener("message", () => {
    soon ??= setTimeout(() => { soon = undefined; htmx.trigger(document.body, "changed") }, 200)
  })
  addEventListener("pagehide", () => stream.close())
}

// What was refused is shown: beside the form, or as the page that the reply is.
document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.xhr.status < 400 || detail.requestConfig.verb !== "post") return
  detail.shouldSwap = true
  if (detail.xhr.responseText.includes('id="answers"')) return
  detail.selectOverride = "main"
  detail.target = document.querySelector("main")
})

// What a person is reading or has chosen stays while they do.
const kept = (part) =>
  part.querySelector("details[open]") ||
  [...part.querySelectorAll("input[type=radio]")].some((each) => each.checked !== each.defaultChecked)
document.body.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, target } = event.detail
  if (target.id === "live" && target.contains(elt) && kept(target)) event.preventDefault()
})
