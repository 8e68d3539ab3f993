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
      answer = await fetch(address, { headers: { Accept: "application/json" }, cache: "no-store" });
    } catch {
      return again(5); // no network at the moment
    }
    if (answer.status === 200) {
      heading.textContent = document.title = page.dataset.polarReadyTitle;
      show("ready");
      window.location.assign(address);
    } else if (answer.status === 202) {
      again((await answer.json()).retry_after);
    } else {
      window.location.assign(address); // the page for it says what is in the way
    }
  };

  const again = (seconds) => {
    if (asked < MOST) window.setTimeout(ask, seconds * 1000);
    else show("gave-up");
  };

  window.stop(); // the page coming back by itself, which is for browsers without JavaScript
  again(Number(page.dataset.polarSeconds));
})();
