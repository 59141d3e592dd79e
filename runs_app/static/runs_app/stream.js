// Events of a run by Server-Sent Events; by asking for JSON pages where streams do not get through.
const RETRY_MS = 2000;
const POLL_MS = 5000;
const FAILURES_BEFORE_POLLING = 3;

export class RunStream {
  constructor(url, handlers) {
    this.url = url;
    this.on = handlers;
    this.failures = 0;
    this.over = false;
  }

  start() {
    if (this.over || this.source || this.timer) return;
    if (this.failures >= FAILURES_BEFORE_POLLING || !("EventSource" in window)) this.poll();
    else this.listen();
  }

  stop() {
    this.source?.close();
    clearTimeout(this.timer);
    this.source = this.timer = null;
  }

  listen() {
    // Opened anew after each cut and not left to reconnect by itself: the address says which line is the last one.
    const source = new EventSource(`${this.url}?after=${this.on.lastId()}`);
    this.source = source;
    const heard = (handler) => (event) => {
      this.failures = 0;
      handler(JSON.parse(event.data));
    };
    source.onopen = () => this.on.mode("live");
    source.onerror = () => this.retry();
    source.addEventListener("log", heard(this.on.log));
    source.addEventListener("progress", heard(this.on.progress));
    source.addEventListener("metric", heard(this.on.change));
    source.addEventListener("status", heard(this.on.change));
    source.addEventListener("end", heard(() => this.finish()));
  }

  retry() {
    this.stop();
    this.failures += 1;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.start();
    }, RETRY_MS);
  }

  async poll() {
    this.on.mode("polling");
    try {
      const isLast = this.on.isOver(); // asked before the lines: when it is over, all of them are there to be read
      let page;
      do {
        const response = await fetch(`${this.url}?format=json&after=${this.on.lastId()}`);
        page = await response.json();
        page.results.forEach(this.on.log);
      } while (page.results.length > 0);
      if (isLast) {
        this.finish();
        return;
      }
    } catch {
      // The server is away, or whoever reads this is not signed in any more: the page finds out which.
    }
    this.on.change();
    this.timer = setTimeout(() => {
      this.timer = null;
      this.start();
    }, POLL_MS);
  }

  finish() {
    this.stop();
    this.over = true;
    this.on.mode("over");
    this.on.change();
  }
}
