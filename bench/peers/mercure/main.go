// Mercure's standalone server.
package main

import "github.com/dunglas/mercure/cmd"

func main() {
	cmd.Execute()
}
