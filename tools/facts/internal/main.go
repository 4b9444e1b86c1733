// Prints the fields of internal types of k8s.io/kubernetes in their order, read from their sources: the reference's messages
// show them with the names of Go. The format is described in core/kube/src/kinds/shown.rs, which reads it.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// Internal packages and those of the version whose JSON names they have.
var packages = [][2]string{
	{"core", "core/v1"},
	{"apps", "apps/v1"},
	{"batch", "batch/v1"},
	{"policy", "policy/v1"},
}

// Types that messages print, with all that they are made of.
var roots = []string{
	"core.EphemeralContainer", "core.PersistentVolumeClaim", "core.PodTemplateSpec", "core.Toleration",
	"apps.DaemonSetUpdateStrategy", "apps.DeploymentStrategy", "apps.StatefulSetUpdateStrategy",
	"batch.PodFailurePolicy", "batch.SuccessPolicy", "batch.UncountedTerminatedPods",
	"policy.PodDisruptionBudgetSpec",
}

type source struct {
	types map[string]ast.Expr // by package.Name
}

func main() {
	kubernetes, api := os.Args[1], os.Args[2]
	internal, external := source{map[string]ast.Expr{}}, source{map[string]ast.Expr{}}
	for _, names := range packages {
		internal.read(names[0], filepath.Join(kubernetes, "pkg/apis", names[0], "types.go"))
		external.read(names[0], filepath.Join(api, names[1], "types.go"))
	}
	fmt.Println("# Internal types of the reference, written by tools/facts/generate. Do not edit.")
	done := map[string]bool{}
	for wanted := roots; len(wanted) > 0; wanted = wanted[1:] {
		name := wanted[0]
		if done[name] {
			continue
		}
		done[name] = true
		fmt.Println("T\t" + name[strings.Index(name, ".")+1:])
		fields := internal.fields(name)
		tags := external.tags(name)
		for _, field := range fields.List {
			shape, below := internal.shape(name[:strings.Index(name, ".")], field.Type)
			if below != "" {
				wanted = append(wanted, below)
			}
			if len(field.Names) == 0 {
				fmt.Printf("\t\t+%s\n", strings.TrimPrefix(shape, "="))
				continue
			}
			for _, ident := range field.Names {
				tag, ok := tags[strings.ToLower(ident.Name)]
				if !ok {
					fail("%s.%s has no field in the version", name, ident.Name)
				}
				fmt.Printf("%s\t%s\t%s\n", ident.Name, tag, shape)
			}
		}
	}
}

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "internal: "+format+"\n", arguments...)
	os.Exit(1)
}

func (s source) read(name, path string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		fail("%v", err)
	}
	for _, declaration := range file.Decls {
		if declaration, ok := declaration.(*ast.GenDecl); ok && declaration.Tok == token.TYPE {
			for _, spec := range declaration.Specs {
				spec := spec.(*ast.TypeSpec)
				s.types[name+"."+spec.Name.Name] = spec.Type
			}
		}
	}
}

func (s source) fields(name string) *ast.FieldList {
	declared, ok := s.types[name].(*ast.StructType)
	if !ok {
		fail("%s is no struct", name)
	}
	return declared.Fields
}

// JSON names by lower-cased field names.
func (s source) tags(name string) map[string]string {
	tags := map[string]string{}
	for _, field := range s.fields(name).List {
		if field.Tag == nil {
			continue
		}
		tag, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
		for _, ident := range field.Names {
			tags[strings.ToLower(ident.Name)] = tag
		}
	}
	return tags
}

// How a type is printed, and the struct type that it leads to.
func (s source) shape(pkg string, expression ast.Expr) (shape, below string) {
	switch expression := expression.(type) {
	case *ast.StarExpr:
		if inner, below := s.shape(pkg, expression.X); strings.HasPrefix(inner, "=") {
			return "*" + inner[1:], below
		}
		return "null", ""
	case *ast.ArrayType:
		if inner, below := s.shape(pkg, expression.Elt); strings.HasPrefix(inner, "=") {
			return "[]" + inner[1:], below
		}
		return "null", ""
	case *ast.MapType:
		return "null", ""
	case *ast.SelectorExpr:
		owner, name := expression.X.(*ast.Ident).Name, expression.Sel.Name
		switch {
		case owner == "metav1" && (name == "LabelSelector" || name == "ObjectMeta" || name == "TypeMeta"):
			return "=" + name, ""
		case owner == "metav1" && name == "Time":
			return "null", ""
		case owner == "resource" && name == "Quantity":
			return `"0"`, ""
		case owner == "intstr" && name == "IntOrString":
			return "0", ""
		case owner == "types" && name == "UID":
			return `""`, ""
		case owner == "api" || owner == "core":
			return s.named("core." + name)
		}
		fail("what is %s.%s?", owner, name)
	case *ast.Ident:
		switch expression.Name {
		case "string":
			return `""`, ""
		case "bool":
			return "false", ""
		case "int", "int32", "int64":
			return "0", ""
		}
		return s.named(pkg + "." + expression.Name)
	}
	fail("what is %T?", expression)
	return "", ""
}

func (s source) named(name string) (shape, below string) {
	declared, ok := s.types[name]
	if !ok {
		fail("no type %s", name)
	}
	if _, ok := declared.(*ast.StructType); ok {
		return "=" + name[strings.Index(name, ".")+1:], name
	}
	return s.shape(name[:strings.Index(name, ".")], declared)
}
