// Whether the kernel is there. It sends a sign of life twice a second, from a thread of its own, also while a cell runs.
// The silence of a kernel that was restarted, has died or cannot be reached looks alike in all notebooks.

/** Milliseconds of silence after which the page is disconnected. It must say so within 3 s. */
const SILENCE = 2300;
const CHECK_INTERVAL = 250;

export class Connection {
  /** onWake: called when the page continues after the browser or the computer has paused it. */
  constructor(onWake) {
    this.onWake = onWake;
    this.isLive = true;
    this.lastSeen = Date.now(); // when the last message came
    this.quietSince = this.lastSeen;
    this.checkedAt = this.lastSeen;
    this.timer = 0;
    this.listeners = new Set(); // called when `isLive` has changed
  }

  open() {
    this.lastSeen = this.quietSince = this.checkedAt = Date.now();
    this.timer = setInterval(() => this.check(), CHECK_INTERVAL);
  }

  close() {
    clearInterval(this.timer);
  }

  /** A message has come. */
  heard() {
    this.lastSeen = this.quietSince = Date.now();
    this.set(true);
  }

  check() {
    const now = Date.now();
    // Messages that came while the page was paused, or busy, are still to be delivered.
    if (now - this.checkedAt > SILENCE) {
      this.quietSince = now;
      this.onWake();
    }
    this.checkedAt = now;
    this.set(now - this.quietSince < SILENCE);
  }

  set(isLive) {
    if (isLive === this.isLive) return;
    this.isLive = isLive;
    for (const listener of this.listeners) listener();
  }
}
