// What all pages share: times in the browser's own zone, parts of a page that
// keep themselves up to date, and requests that are sent again until they are
// answered. Written for browsers back to 2017.
(function () {
  'use strict';

  // Times are shown where the reader is; the text of the server stays as a title.
  function showTimes(root) {
    var format;
    try {
      format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });
    } catch (e) {
      return;
    }
    var times = root.querySelectorAll('time[datetime]');
    for (var i = 0; i < times.length; i++) {
      var at = new Date(times[i].getAttribute('datetime'));
      if (!isNaN(at)) {
        times[i].title = times[i].textContent;
        times[i].textContent = format.format(at);
      }
    }
  }
  showTimes(document);

  // An element with data-refresh="SECONDS" is fetched again and again while the
  // page is looked at; so is the badge.
  var live = document.querySelector('[data-refresh]');
  var badge = document.querySelector('[data-badge]');

  // The page as it is shown: while it is the same, the device does not send it.
  var tag = null;

  function update() {
    if (document.hidden) {
      return;
    }
    var headers = { Accept: 'text/html' };
    if (tag) {
      headers['If-None-Match'] = tag;
    }
    fetch(location.href, { credentials: 'same-origin', headers: headers }).then(function (response) {
      if (response.status === 304) {
        return null;
      }
      if (!response.ok || response.redirected) {
        throw new Error(response.status);
      }
      var newTag = response.headers.get('ETag');
      return response.text().then(function (html) { return { html: html, tag: newTag }; });
    }).then(function (answer) {
      if (!answer) {
        return;
      }
      var page = new DOMParser().parseFromString(answer.html, 'text/html');
      var shown = replace('[data-badge]', page);
      var fresh = live && page.getElementById(live.id);
      if (!fresh) {
        return;
      }
      showTimes(fresh);
      if (fresh.innerHTML !== live.innerHTML) {
        if (live.contains(document.activeElement)) {
          return;
        }
        var scrolled = live.querySelector('.scroll');
        var at = scrolled ? scrolled.scrollLeft : 0;
        live.innerHTML = fresh.innerHTML;
        scrolled = live.querySelector('.scroll');
        if (scrolled) {
          scrolled.scrollLeft = at;
        }
      }
      tag = shown ? answer.tag : null;
    }).catch(function () { /* the next time */ });
  }

  // replace shows an element as it is on another page, and tells whether it could.
  function replace(selector, page) {
    var old = document.querySelector(selector);
    var fresh = page.querySelector(selector);
    if (old && fresh && old.outerHTML !== fresh.outerHTML) {
      if (old === document.activeElement) {
        return false;
      }
      old.className = fresh.className;
      old.innerHTML = fresh.innerHTML;
    }
    return true;
  }

  // Other pages have forms and videos in them, so there only the badge moves.
  function updateBadge() {
    if (document.hidden) {
      return;
    }
    fetch('/api/v1/sync', { credentials: 'same-origin' }).then(function (response) {
      return response.ok ? response.json() : Promise.reject(response.status);
    }).then(function (sync) {
      badge.className = 'badge ' + sync.words.level;
      badge.querySelector('span:last-child').textContent = sync.words.badge;
      badge.querySelector('.sign').textContent = { safe: '✓', sending: '↑', waiting: '↑' }[sync.words.level] || '!';
    }).catch(function () { /* the next time */ });
  }

  if (live) {
    setInterval(update, live.getAttribute('data-refresh') * 1000);
  } else if (badge) {
    setInterval(updateBadge, 10000);
  }

  // send posts JSON until there is an answer. waiting(true) is called when the
  // device cannot be reached, waiting(false) when it can again; done(status,
  // body) with the answer. The body needs an id, by which the device knows it
  // again if only the answer was lost.
  function send(path, body, waiting, done) {
    var pause = 1000;
    var isWaiting = false;
    function attempt() {
      fetch(path, {
        method: 'POST', credentials: 'same-origin',
        headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body)
      }).then(function (response) {
        if (response.status >= 500 && response.status !== 507) {
          throw new Error(response.status);
        }
        return response.json().then(function (answer) {
          if (isWaiting) {
            waiting(false);
          }
          done(response.status, answer);
        });
      }).catch(function () {
        if (!isWaiting) {
          isWaiting = true;
          waiting(true);
        }
        setTimeout(attempt, pause);
        pause = Math.min(pause * 2, 15000);
      });
    }
    attempt();
  }

  // newID returns a name for a request that no other has.
  function newID() {
    var bytes = new Uint8Array(12);
    (window.crypto || window.msCrypto).getRandomValues(bytes);
    return Array.prototype.map.call(bytes, function (b) { return ('0' + b.toString(16)).slice(-2); }).join('');
  }

  window.classmesh = { send: send, newID: newID };
})();
