// Keeps the page of a live run up to date: listens for news, fetches the view when it changed, and redraws in place.
"use strict";
(() => {
  const LONGEST_WAIT = 30; // seconds between two attempts to connect
  const live = JSON.parse(document.getElementById("live").textContent);
  const line = document.getElementById("live-status");
  let version = live.version; // of the view on the page
  let stale = false;
  let busy = false;
  let over = false;
  let stream = null;
  let timer = 0;
  let wait = 1;
  let last = "";

  const say = (state, text) => {
    line.dataset.state = state;
    if (line.textContent !== text) line.textContent = text;
  };

  async function refresh() {
    if (busy) return;
    busy = true;
    try {
      while (stale && !document.hidden) {
        const answer = await fetch(live.data, { cache: "no-store", headers: { "If-None-Match": `"${version}"` } });
        if (!answer.ok && answer.status !== 304) {
          say("lost", `the page could not be updated (${answer.status} ${answer.statusText})`);
          return;
        }
        stale = false;
        if (answer.status === 304) continue;
        const view = await answer.json();
        version = answer.headers.get("ETag").replaceAll('"', "");
        window.multiloss.update(view);
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch says so when the connection is lost; the stream sees it too
    } finally {
      busy = false;
    }
  }

  function disconnect() {
    clearTimeout(timer);
    if (stream) stream.close();
    stream = null;
  }

  function connect() {
    disconnect();
    stream = new EventSource(live.events);
    stream.onmessage = (event) => {
      const news = JSON.parse(event.data);
      wait = 1;
      last = news.text;
      say(news.state, news.text);
      if (news.version !== version) {
        stale = true;
        refresh();
      }
    };
    stream.addEventListener("end", () => {
      over = true;
      disconnect();
      say("over", `${last} (no longer live: the server of this page has ended)`);
    });
    stream.onerror = () => {
      disconnect();
      const next = new Date(Date.now() + 1000 * wait);
      say("lost", `connection lost; trying again at ${next.toLocaleTimeString()}`);
      timer = setTimeout(connect, next - Date.now());
      wait = Math.min(LONGEST_WAIT, 2 * wait);
    };
  }

  // A hidden page holds no connection: a browser has six of them for one server, and nobody is looking.
  function look() {
    if (over) return;
    if (document.hidden) disconnect();
    else connect();
  }
  document.addEventListener("visibilitychange", look);
  document.addEventListener("DOMContentLoaded", look); // after the page's own script has drawn what it came with
})();
