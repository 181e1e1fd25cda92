package main

import "github.com/spf13/cobra"

func newDemoCommand(p *program) *cobra.Command { return &cobra.Command{Use: "demo"} }
