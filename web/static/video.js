// Records which parts of the video were watched: what was played, not where
// the player stood. A part is sent every 15 seconds, on pausing, and on leaving.
(function () {
  'use strict';
  var video = document.getElementById('video');
  if (!video || !window.fetch) {
    return;
  }
  var duration = Number(video.getAttribute('data-duration'));
  var every = 15;      // seconds of a part
  var start = null;    // of the part being watched, or null
  var last = 0;        // up to where it was watched
  var unsent = [];     // parts without an answer, oldest first
  var unsaved = document.getElementById('unsaved');
  var isSending = false;

  // Go on where the learner stopped, on whatever device.
  var position = Number(video.getAttribute('data-position'));
  video.addEventListener('loadedmetadata', function () {
    if (position > 0 && position < duration - 3) {
      video.currentTime = position;
    }
  });

  function close() {
    if (start !== null && last - start >= 0.5) {
      unsent.push({
        id: window.classmesh.newID(), video: video.getAttribute('data-video'),
        from_s: Math.round(start * 100) / 100, to_s: Math.round(Math.min(last, duration) * 100) / 100
      });
    }
    start = null;
  }

  function flush() {
    if (isSending || unsent.length === 0) {
      return;
    }
    isSending = true;
    window.classmesh.send('/api/v1/viewings', unsent[0], function (waiting) {
      unsaved.hidden = !waiting;
    }, function (status, result) {
      unsent.shift(); // also what was refused: it would be again
      isSending = false;
      if (status === 200) {
        progress(result.progress);
      } else {
        unsaved.textContent = result.error.message;
        unsaved.hidden = false;
      }
      flush();
    });
  }

  function progress(p) {
    var percent = Math.floor(p.coverage * 100);
    document.getElementById('coverage').value = percent;
    document.getElementById('percent').textContent = percent;
    document.getElementById('points').textContent = p.points;
    document.getElementById('complete').hidden = p.status !== 'complete';
  }

  function playing() {
    var now = video.currentTime;
    if (video.seeking || start === null) {
      start = now;
    } else if (now < last || now - last > 2 * Math.max(1, video.playbackRate)) {
      close(); // a jump that was not announced
      start = now;
    }
    last = now;
    if (last - start >= every) {
      close();
      start = now;
      flush();
    }
  }
  function pause() {
    if (start !== null && video.currentTime >= last && video.currentTime - last <= 2 * Math.max(1, video.playbackRate)) {
      last = video.currentTime;
    }
    close();
    flush();
  }

  video.addEventListener('playing', function () {
    if (start === null) {
      start = last = video.currentTime;
    }
  });
  video.addEventListener('timeupdate', function () {
    if (!video.paused && !video.seeking) {
      playing();
    }
  });
  video.addEventListener('seeking', function () {
    close(); // the player already stands elsewhere: last is where it was
    flush();
  });
  video.addEventListener('pause', function () {
    if (!video.seeking) {
      pause();
    }
  });
  video.addEventListener('ended', pause);

  // Whoever leaves may never come back: what is open goes as a beacon. The
  // ids let the device count it once, should an answer just have been lost.
  function leave() {
    if (!video.paused && start !== null) {
      last = Math.max(last, start);
    }
    close();
    for (var i = 0; i < unsent.length; i++) {
      if (navigator.sendBeacon) {
        navigator.sendBeacon('/api/v1/viewings', new Blob([JSON.stringify(unsent[i])], { type: 'application/json' }));
      }
    }
  }
  window.addEventListener('pagehide', leave);
  document.addEventListener('visibilitychange', function () {
    if (document.hidden) {
      pause();
    }
  });
})();
