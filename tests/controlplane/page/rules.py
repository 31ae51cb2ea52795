"""Rules of accessibility that can be checked by a program, as a script for the browser; it lists what breaks one."""

RULES = r"""(() => {
  const broken = []
  const say = (rule, element) => broken.push(`${rule}: ${element.outerHTML.slice(0, 120)}`)
  const all = (selector) => [...document.querySelectorAll(selector)]
  const shown = (element) => element.checkVisibility({ visibilityProperty: true })

  if (!document.documentElement.lang) say("the language is not said", document.documentElement)
  if (!document.title.trim()) say("the page has no title", document.head)
  if (all("main").length !== 1) say("there is not one main", document.body)
  if (all("h1").length !== 1) say("there is not one h1", document.body)
  let level = 1
  for (const heading of all("h1, h2, h3, h4")) {
    if (+heading.tagName[1] > level + 1) say("a level of headings is left out", heading)
    level = +heading.tagName[1]
  }
  const ids = all("[id]").map((each) => each.id)
  for (const element of all("[id]")) if (ids.filter((id) => id === element.id).length > 1) say("two have one id", element)
  for (const name of ["aria-labelledby", "aria-describedby", "for"])
    for (const element of all(`[${name}]`))
      for (const id of element.getAttribute(name).split(" "))
        if (!document.getElementById(id)) say(`${name} names nothing`, element)

  const nameOf = (element) =>
    (element.getAttribute("aria-label") || "") +
    (element.labels ? [...element.labels].map((each) => each.innerText).join(" ") : "") +
    (element.matches("a, button, summary, th, caption") ? element.innerText : "")
  for (const element of all("a[href], button, summary, input:not([type=hidden]), select, textarea"))
    if (shown(element) && !nameOf(element).trim()) say("it has no name", element)
  for (const element of all("nav, [role=region], section"))
    if (!element.ariaLabel && !element.getAttribute("aria-labelledby")) say("a landmark has no name", element)
  for (const table of all("table"))
    if (![...table.querySelectorAll("thead th")].every((each) => each.scope === "col" && each.innerText.trim() || each.querySelector(".hidden")))
      say("a column has no header", table)
  for (const element of all("div, pre"))
    if (shown(element) && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible" && element.tabIndex < 0)
      say("what scrolls cannot be reached with keys", element)
  for (const element of all("[tabindex]")) if (element.tabIndex > 0) say("the order of focus is changed", element)
  for (const element of all("[style], [onclick], script:not([src]), style")) say("style or script is inline", element)
  if (document.documentElement.scrollWidth > innerWidth) say("the page is wider than the window", document.body)

  for (const element of all("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    if (!shown(element)) continue
    element.focus({ focusVisible: true })
    const style = getComputedStyle(element)
    if (document.activeElement !== element) say("it cannot be focused", element)
    else if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) say("its focus cannot be seen", element)
  }
  document.activeElement.blur()

  const channels = (colour) => colour.match(/[\d.]+/g).map(Number)
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const paper = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor
      if ((channels(colour)[3] ?? 1) > 0) return colour
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(0, 0, 0)" : "rgb(255, 255, 255)"
  }
  for (const element of all("body *")) {
    const text = [...element.childNodes].some((each) => each.nodeType === 3 && each.data.trim())
    if (!(text || element.matches("input, select")) || !shown(element) || element.closest(".skip, .hidden, option")) continue
    const [one, other] = [light(getComputedStyle(element).color), light(paper(element))]
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
    if (contrast < 4.5) say(`the contrast is ${contrast.toFixed(2)}`, element)
  }
  return broken
})()"""
