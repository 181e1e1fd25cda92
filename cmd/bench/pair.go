package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// pair is a holder that runs, and a receiver that comes when it is called.
type pair struct {
	zone     *zone
	dir      string
	settings settings
	holder   *process
	address  string
	receiver string
}

// settings are what the processes of a pair run with.
type settings struct {
	holder, receiver []string // more environment
}

// pair starts a holder of a copy of the zone, and founds a receiver.
func (b *bench) pair(ctx context.Context, z *zone, name string, s settings) (p *pair, err error) {
	p = &pair{zone: z, dir: filepath.Join(b.dir, name), settings: s}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	p.receiver = filepath.Join(p.dir, "receiver")
	if err := z.join(ctx, p.receiver); err != nil {
		return nil, err
	}
	if err := z.holder(filepath.Join(p.dir, holderName)); err != nil {
		return nil, err
	}
	if p.holder, err = start(ctx, s.holder, "hold", filepath.Join(p.dir, holderName)); err != nil {
		return nil, err
	}
	var ready struct{ Address string }
	if err := p.holder.hear(&ready); err != nil {
		return nil, err
	}
	p.address = ready.Address
	return p, nil
}

func (p *pair) receive(ctx context.Context, mode string) (*process, error) {
	return start(ctx, p.settings.receiver, "receive", p.receiver, p.address, mode, p.zone.Learner)
}

// sync has a receiver that has just been started exchange once.
func (p *pair) sync(ctx context.Context) (got received, err error) {
	r, err := p.receive(ctx, "sync")
	if err != nil {
		return got, err
	}
	defer r.kill()
	if got, err = p.visit(r); err != nil {
		return got, err
	}
	return got, r.end()
}

// visit has a receiver exchange once more, and counts bytes on the interface, if
// that can be done.
func (p *pair) visit(r *process) (got received, err error) {
	before, counted := loopbackBytes()
	if err := r.ask("sync", &got); err != nil {
		return got, err
	}
	if counted {
		got.Bytes = quietBytes() - before
	}
	return got, nil
}

// quietBytes is loopbackBytes when nothing is on the way any more: acknowledgements
// follow what they acknowledge by up to 25 ms.
func quietBytes() uint64 {
	bytes, _ := loopbackBytes()
	for {
		time.Sleep(50 * time.Millisecond)
		now, _ := loopbackBytes()
		if now == bytes {
			return now
		}
		bytes = now
	}
}

// close ends the holder and removes the stores.
func (p *pair) close() {
	if p.holder != nil {
		if p.holder.end() != nil {
			p.holder.kill()
		}
	}
	os.RemoveAll(p.dir)
}
