/* Asks quietly whether the document is ready, instead of loading the page again and again, and then opens it. */
(() => {
  "use strict";
  const page = document.querySelector("[data-polar-waiting]");
  if (!page || !window.fetch) return;
  const MOST = 20;
  const address = page.dataset.polarWaiting;
  const heading = page.querySelector("h1");
  let asked = 0;

  const show = (state) => {
    for (const part of page.querySelectorAll("[data-polar-show]")) part.hidden = part.dataset.polarShow !== state;
  };

  const ask = async () => {
    asked += 1;
    let answer;
    try {
      // The count, as in the page's own address: it tells that somebody waits, where there is no cache to know it.
      answer = await fetch(`${address}?waiting=${asked}`, { headers: { Accept: "application/json" }, cache: "no-store" });
    } catch {
      return again(5); // no network at the moment
    }
    if (answer.status === 202) return again(Number(answer.headers.get("Retry-After")) || 5);
    if (answer.status === 200) {
      document.title = document.title.replace(heading.textContent, page.dataset.polarReadyTitle);
      heading.textContent = page.dataset.polarReadyTitle;
      show("ready");
    }
    // A download, which leaves this page as it is, or the page that says what is wrong; from there "Try again" waits on.
    window.location.assign(answer.status === 503 ? `${address}?waiting=1` : address);
  };

  const again = (seconds) => {
    if (asked < MOST) window.setTimeout(ask, seconds * 1000);
    else show("gave-up");
  };

  /* The Refresh header is for browsers without JavaScript. Its clock starts when the page has loaded, and stop() ends it;
     any earlier, stop() would end the loading of the host's own images and scripts. */
  window.addEventListener("load", () => window.setTimeout(() => {
    window.stop();
    again(Number(page.dataset.polarSeconds));
  }));
})();
