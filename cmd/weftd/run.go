package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"weft/config"
	"weft/internal/control"
	weft "weft/internal/daemon"
)

// run carries frames and answers the API at socket until a signal ends it.
func run(o weft.Options, socket string) error {
	log := o.Log
	doc, err := config.Load(o.ConfigPath)
	if err != nil {
		return err
	}
	gid, err := control.GroupID()
	if err != nil {
		log.Warn("control socket", zap.Error(err))
	}
	listener, err := control.Listen(socket, gid)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (run weftd as root)", err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // again, after an early return
	d, err := weft.New(doc, o)
	if err != nil {
		return err
	}
	server := control.NewServer(d, gid, log)

	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	go handleSignals(stop, d, log)
	ready := func() {
		go func() {
			if err := server.Serve(listener); err != nil {
				stop(err) // a switch that nobody can control is better started anew
			}
		}()
		notify(daemon.SdNotifyReady)
		log.Info("ready", zap.String("socket", socket), zap.String("config", o.ConfigPath))
	}
	// A worker keeps its processor while it carries frames, and shortly after: the
	// rest of the daemon needs others.
	runtime.GOMAXPROCS(d.Status().Workers + 2)
	err = d.Run(ctx, ready)
	notify(daemon.SdNotifyStopping)
	return errors.Join(err, server.Close(), end(d, context.Cause(ctx), err), listener.Close())
}

// A stopSignal is why the daemon ends.
type stopSignal struct{ os.Signal }

func (s stopSignal) Error() string { return "stopped by " + s.String() }

func handleSignals(stop context.CancelCauseFunc, d *weft.Daemon, log *zap.Logger) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2, syscall.SIGHUP)
	for s := range signals {
		if s == syscall.SIGHUP {
			reload(d, log)
			continue
		}
		log.Info("stopping", zap.Stringer("signal", s))
		if s != syscall.SIGUSR2 {
			d.Farewell()
		}
		stop(stopSignal{s})
	}
}

// end removes what the daemon made if it was told to stop, and leaves it to the
// next start if it is to be replaced or failed.
func end(d *weft.Daemon, cause, failure error) error {
	var told stopSignal
	switch {
	case failure != nil:
		return d.Leave()
	case !errors.As(cause, &told):
		return errors.Join(cause, d.Leave())
	case told.Signal == syscall.SIGUSR2:
		return d.Leave()
	}
	return d.Remove()
}

func reload(d *weft.Daemon, log *zap.Logger) {
	applied, err := d.Reload()
	if err != nil {
		log.Error("reload refused, everything runs on as it was", zap.Error(err))
		return
	}
	log.Info("reloaded", zap.Strings("actions", applied.Actions), zap.Strings("warnings", applied.Warnings))
}

// notify tells systemd, if it runs us.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// setLevel reads one of the levels that weftd has.
func setLevel(level *zapcore.Level, s string) error {
	switch s {
	case "debug", "info", "warn", "error":
		return level.Set(s)
	}
	return errors.New("want debug, info, warn or error")
}

// logger writes lines for people to standard error, where journald stamps them.
func logger(level zapcore.Level) *zap.Logger {
	c := zap.NewDevelopmentEncoderConfig()
	if os.Getenv("JOURNAL_STREAM") != "" {
		c.TimeKey = zapcore.OmitKey
	}
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(c), zapcore.Lock(os.Stderr), level))
}
