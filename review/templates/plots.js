"use strict";

// DVC writes names, branches and the values of tables into its page as they are, so they could end an element and run
// a script. This page therefore keeps all that DVC writes in a <plaintext> element. HTML reads everything after its start
// as text, and nothing can end it. The charts and pictures are taken from that text, line by line, and built here.
const CHART = /^\s*var spec = (.*);$/s; // JSON, in which a line break is escaped
const PARAGRAPH = /^\s*<p>(.*)<\/p>$/s; // the name of a plot, or the revision of the picture in the next line
const PICTURE = /^\s*<img src="(.*)">$/s;

function element(kind, properties, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

function addCard(...children) {
  const card = element("div", {}, ...children);
  document.querySelector("main").append(card);
  return card;
}

function addChart(json) {
  const card = addCard();
  const explain = (error) => card.replaceChildren(element("p", { textContent: `This chart cannot be drawn: ${error}` }));
  try {
    // Without $schema: its version is older than this Vega, which would warn of that.
    const { $schema: version, ...specification } = JSON.parse(json);
    const { title } = specification;
    drawChart(card, specification, `Chart: ${title?.text ?? title ?? "untitled"}`).catch(explain);
  } catch (error) {
    explain(error);
  }
}

// Adds a picture, as a link to its full size unless it is an SVG, whose scripts would run there. DVC writes pictures to
// a folder beside the page, with a path that may contain characters that mean something in a URL.
function addPicture(card, path, name, revision) {
  const address = path.startsWith("data:image") ? path : path.split(/[/\\]/).map(encodeURIComponent).join("/");
  const picture = element("img", { src: address, alt: `${name}, ${revision}` });
  const shown = /\.svg$/i.test(path) ? picture : element("a", { href: address }, picture);
  card.append(element("figure", {}, element("p", { textContent: revision }), shown));
}

document.addEventListener("DOMContentLoaded", () => {
  let card = null;
  let name = "";
  let paragraph = null;
  for (const line of document.querySelector("plaintext").textContent.split("\n")) {
    const [chart, words, picture] = [CHART, PARAGRAPH, PICTURE].map((pattern) => pattern.exec(line)?.[1]);
    if (chart !== undefined) addChart(chart);
    if (words !== undefined) {
      // Of two paragraphs in a row, the first is the name of a plot.
      if (paragraph !== null) {
        name = paragraph;
        card = addCard(element("p", { textContent: name }));
        card.className = "pictures";
      }
      paragraph = words;
    }
    if (picture !== undefined && card) {
      addPicture(card, picture, name, paragraph ?? "");
      paragraph = null;
    }
  }
});
