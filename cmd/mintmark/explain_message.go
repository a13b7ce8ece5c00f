package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/explain"
)

// readMessage reads the operand. field is FieldNone when the person did not
// say what it is.
func readMessage(stdin io.Reader, operand string, field idspace.Field) (*explain.Message, error) {
	data, raw, err := readOperand(stdin, operand)
	if err != nil {
		return nil, err
	}
	m, err := explain.Read(data, raw, field)
	return m, inputError(err)
}

// inputError says what is wrong with an operand as a command does.
func inputError(err error) error {
	input, ok := errors.AsType[*explain.InputError](err)
	switch {
	case !ok:
		return err
	case input.Hint != "":
		return withHint(input, "%s", input.Hint)
	}
	return usagef("%s", input.Reason)
}

// readOperand returns what the operand stands for. raw says that it is bytes,
// not text that spells them.
func readOperand(stdin io.Reader, operand string) (data []byte, raw bool, err error) {
	switch name, isFile := strings.CutPrefix(operand, "@"); {
	case operand == "-":
		data, err = readBounded(stdin)
	case isFile:
		f, openErr := os.Open(name)
		if openErr != nil {
			return nil, false, openErr
		}
		defer f.Close()
		data, err = readBounded(f)
	default:
		return []byte(operand), false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the value: %w", err)
	}
	return data, !explain.IsText(data), nil
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, explain.MaxValue+1))
	if err == nil && len(data) > explain.MaxValue {
		err = fmt.Errorf("it is longer than %d bytes", explain.MaxValue)
	}
	return data, err
}
