/* Python's operators on values. Integers have 128 bits; a result beyond is an error. */
#include <math.h>

#include "text/template/eval.h"

static const tpl_int INT_MAX = (tpl_int)(((unsigned __int128)1 << 127) - 1);

static tpl_int multiply(struct tpl *t, tpl_int a, tpl_int b) {
    tpl_int x = a < 0 ? -a : a, y = b < 0 ? -b : b;
    if (y && x > INT_MAX / y)
        tpl_fail_large(t);
    return a * b;
}

static tpl_int floor_div(tpl_int a, tpl_int b) {
    tpl_int q = a / b;
    return a % b && (a < 0) != (b < 0) ? q - 1 : q;
}

static tpl_int int_power(struct tpl *t, tpl_int a, tpl_int b) {
    tpl_int result = 1;
    if (a == 1 || a == 0 || a == -1)
        return b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a;
    if (b > 127)
        tpl_fail_large(t);
    for (; b; b--)
        result = multiply(t, result, a);
    return result;
}

struct tpl_val tpl_negate(struct tpl *t, struct tpl_val a) {
    if (a.kind == TPL_BIG)
        return tpl_big_negated(t, a);
    return a.kind == TPL_FLOAT ? tpl_float(-a.f) : tpl_num(-tpl_to_int(a));
}

static struct tpl_val int_op(struct tpl *t, int op, tpl_int a, tpl_int b) {
    tpl_int r;
    if (b == 0 && (op == '/' || op == '%' || op == TOK_FLOORDIV))
        tpl_fail(t, "division by zero");
    switch (op) {
    case '+':
    case '-':
        if (op == '+' ? (b > 0 ? a > INT_MAX - b : a < -INT_MAX - b) : (b < 0 ? a > INT_MAX + b : a < -INT_MAX + b))
            tpl_fail_large(t);
        r = op == '+' ? a + b : a - b;
        break;
    case '*': r = multiply(t, a, b); break;
    case TOK_FLOORDIV: r = floor_div(a, b); break;
    case '%': r = a - floor_div(a, b) * b; break;
    case '/': return tpl_float((double)a / (double)b);
    default:
        if (b < 0 && a == 0)
            tpl_fail(t, "0.0 cannot be raised to a negative power");
        if (b < 0)
            return tpl_float(pow((double)a, (double)b));
        r = int_power(t, a, b);
        break;
    }
    return tpl_num(r);
}

static double float_mod(double a, double b) {
    double m = fmod(a, b);
    if (m == 0)
        return copysign(0.0, b);
    return (m < 0) != (b < 0) ? m + b : m;
}

static struct tpl_val float_op(struct tpl *t, int op, double a, double b) {
    if (b == 0 && (op == '/' || op == '%' || op == TOK_FLOORDIV))
        tpl_fail(t, "float division by zero");
    switch (op) {
    case '+': return tpl_float(a + b);
    case '-': return tpl_float(a - b);
    case '*': return tpl_float(a * b);
    case '/': return tpl_float(a / b);
    case '%': return tpl_float(float_mod(a, b));
    case TOK_FLOORDIV: {
        double q = (a - float_mod(a, b)) / b;
        return tpl_float(floor(q + 0.5) - q > 0.5 ? floor(q) : floor(q + 0.5));
    }
    default: break;
    }
    if (a == 0 && b < 0)
        tpl_fail(t, "0.0 cannot be raised to a negative power");
    double r = pow(a, b);
    if ((isnan(r) || isinf(r)) && isfinite(a) && isfinite(b))
        tpl_fail(t, "the result of ** is not a finite number");
    return tpl_float(r);
}

_Noreturn static void unsupported(struct tpl *t, int op, struct tpl_val a, struct tpl_val b) {
    static const char *const words[] = {"//", "**"};
    char one[2] = {(char)op, 0};
    if (a.kind == TPL_UNDEF)
        tpl_fail_undefined(t, a);
    if (b.kind == TPL_UNDEF)
        tpl_fail_undefined(t, b);
    tpl_fail(t, "unsupported operand type(s) for %s: '%s' and '%s'",
             op == TOK_FLOORDIV ? words[0]
             : op == TOK_POW    ? words[1]
                                : one,
             tpl_type(a), tpl_type(b));
}

static struct tpl_val repeat(struct tpl *t, struct tpl_val of, tpl_int times) {
    size_t n = of.kind == TPL_STR ? of.s->len : of.q->n;
    if (times <= 0)
        times = 0;
    if (n && times > TPL_MAX_OUTPUT / (tpl_int)n)
        tpl_fail(t, "the result of * is too long");
    if (!n || times == 1)
        return of;
    tpl_charge(t, (size_t)times);
    if (of.kind == TPL_STR) {
        struct tpl_sb b = {.t = t};
        for (; times; times--)
            tpl_sb_str(&b, of.s);
        struct tpl_val v = tpl_sb_done(&b);
        v.safe = of.safe;
        return v;
    }
    struct tpl_val *v = tpl_alloc_n(t, n * (size_t)times, sizeof *v);
    for (size_t i = 0; i < n * (size_t)times; i++)
        v[i] = of.q->v[i % n];
    return tpl_seq(t, of.kind, v, n * (size_t)times);
}

static struct tpl_val join_seqs(struct tpl *t, struct tpl_val a, struct tpl_val b) {
    size_t n = a.q->n + b.q->n;
    struct tpl_val *v = tpl_alloc_n(t, n, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = i < a.q->n ? a.q->v[i] : b.q->v[i - a.q->n];
    tpl_charge(t, n / 4);
    return tpl_seq(t, a.kind, v, n);
}

struct tpl_val tpl_add(struct tpl *t, struct tpl_val a, struct tpl_val b) {
    if (a.kind == TPL_STR && b.kind == TPL_STR) {
        struct tpl_sb sum = {.t = t};
        bool safe = a.safe || b.safe;
        if (safe) {
            a = tpl_escape(t, a);
            b = tpl_escape(t, b);
        }
        tpl_sb_str(&sum, a.s);
        tpl_sb_str(&sum, b.s);
        struct tpl_val v = tpl_sb_done(&sum);
        v.safe = safe;
        return v;
    }
    return tpl_binary(t, '+', a, b);
}

struct tpl_val tpl_binary(struct tpl *t, int op, struct tpl_val a, struct tpl_val b) {
    if (tpl_is_num(a) && tpl_is_num(b)) {
        if (a.kind == TPL_FLOAT || b.kind == TPL_FLOAT)
            return float_op(t, op, tpl_to_float(t, a), tpl_to_float(t, b));
        if (a.kind == TPL_BIG || b.kind == TPL_BIG)
            tpl_fail_large(t);
        return int_op(t, op, tpl_to_int(a), tpl_to_int(b));
    }
    if (op == '+' && a.kind == TPL_STR && b.kind == TPL_STR)
        return tpl_add(t, a, b);
    if (op == '+' && tpl_is_seq(a) && a.kind == b.kind)
        return join_seqs(t, a, b);
    if (op == '%' && a.kind == TPL_STR)
        return tpl_percent(t, a, b);
    if (op == '*' && (a.kind == TPL_STR || tpl_is_seq(a)) && tpl_is_int(b))
        return repeat(t, a, tpl_to_int(b));
    if (op == '*' && (b.kind == TPL_STR || tpl_is_seq(b)) && tpl_is_int(a))
        return repeat(t, b, tpl_to_int(a));
    unsupported(t, op, a, b);
}

static bool in_range(const struct tpl_range *r, struct tpl_val v) {
    if (v.kind == TPL_FLOAT) {
        if (v.f != floor(v.f) || fabs(v.f) > 9e18)
            return false;
        v = tpl_num((int64_t)v.f);
    }
    if (!tpl_is_int(v) || !r->n)
        return false;
    tpl_int off = tpl_to_int(v) - r->start;
    return off % r->step == 0 && off / r->step >= 0 && off / r->step < (tpl_int)r->n;
}

bool tpl_contains(struct tpl *t, struct tpl_val in, struct tpl_val what) {
    switch ((enum tpl_kind)in.kind) {
    case TPL_STR:
        if (what.kind != TPL_STR)
            tpl_fail(t, "'in <string>' requires string as left operand, not %s", tpl_type(what));
        return tpl_find_bytes(t, in.s->s, in.s->len, what.s->s, what.s->len, 0) <= in.s->len;
    case TPL_DICT: return tpl_dict_get(t, in.d, what) != NULL;
    case TPL_RANGE: return in_range(in.r, what);
    case TPL_VIEW:
        if (in.view->kind == TPL_KEYS)
            return tpl_dict_get(t, in.view->d, what) != NULL;
        break;
    default: break;
    }
    if (!tpl_iterable(in))
        tpl_fail(t, "argument of type '%s' is not iterable", tpl_type(in));
    struct tpl_iter it = tpl_iterate(t, in);
    for (struct tpl_val v; tpl_next(t, &it, &v);)
        if (tpl_equal(t, v, what))
            return true;
    return false;
}
